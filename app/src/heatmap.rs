//! The table of conversions as a picture: teachers down, students across, an SVG that shows in any browser.

use std::fmt::Write;

use retort_distill::pairs::Table;
use retort_fields::registry::Kind;

const CELL: [usize; 2] = [132, 64];
const LEFT: usize = 128;
const TOP: usize = 96;

/// Draws the pairs of `kinds`; one that was not measured stays white.
pub fn svg(table: &Table, kinds: &[Kind]) -> String {
    let (width, height) = (LEFT + CELL[0] * kinds.len() + 16, TOP + CELL[1] * kinds.len() + 16);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"14\" text-anchor=\"middle\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(
        &mut out,
        [width / 2, 24],
        14,
        "PSNR of the student on test photos (dB below the best to expect), time, times from photos; a kind to itself: smaller",
    );
    for (i, kind) in kinds.iter().enumerate() {
        let alone =
            table.scratch_of(*kind).map(|s| format!("{:.1} dB, {:.0} s", s.psnr, s.took.seconds)).unwrap_or_default();
        let (x, y) = (LEFT + CELL[0] * i + CELL[0] / 2, TOP + CELL[1] * i + CELL[1] / 2);
        text(&mut out, [x, TOP - 28], 15, &format!("to {kind}"));
        text(&mut out, [x, TOP - 10], 11, &alone);
        text(&mut out, [LEFT / 2, y], 15, kind.name());
        text(&mut out, [LEFT / 2, y + 18], 11, &alone);
    }
    for (row, teacher) in kinds.iter().enumerate() {
        for (column, student) in kinds.iter().enumerate() {
            cell(&mut out, table, *teacher, *student, [LEFT + CELL[0] * column, TOP + CELL[1] * row]);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn cell(out: &mut String, table: &Table, teacher: Kind, student: Kind, [x, y]: [usize; 2]) {
    let pair = table.pair(teacher, student);
    let loss = pair.and_then(|p| p.loss(table));
    let fill = loss.map_or_else(|| "#ffffff".into(), colour);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{fill}\" stroke=\"white\" stroke-width=\"2\"/>",
        CELL[0], CELL[1]
    );
    let Some(pair) = pair else { return };
    let below = loss.map(|loss| format!(" ({loss:+.1})")).unwrap_or_default();
    text(out, [x + CELL[0] / 2, y + 28], 15, &format!("{:.1}{below}", pair.psnr));
    let ratio = pair.ratio(table).map(|(r, least)| format!(", {}×{r:.1}", if least { ">" } else { "" }));
    text(out, [x + CELL[0] / 2, y + 48], 12, &format!("{:.0} s{}", pair.took.seconds, ratio.unwrap_or_default()));
}

fn text(out: &mut String, [x, y]: [usize; 2], size: usize, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\">{words}</text>");
}

/// Green where nothing is lost, yellow at 1 dB, red from 3 dB on; light enough for black letters.
fn colour(loss: f32) -> String {
    let stops = [(0.0, [166, 219, 160]), (1.0, [255, 237, 160]), (3.0, [251, 154, 133])];
    let loss = loss.clamp(0.0, 3.0);
    let (low, high) = if loss <= 1.0 { (stops[0], stops[1]) } else { (stops[1], stops[2]) };
    let share = (loss - low.0) / (high.0 - low.0);
    let mix = |i: usize| (low.1[i] as f32 + share * (high.1[i] as f32 - low.1[i] as f32)).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use retort_distill::pairs::{Pair, Point, Scratch, Took};

    use super::*;

    #[test]
    fn a_cell_says_what_was_measured_and_others_stay_white() {
        let kinds = [Kind::ALL[0], Kind::ALL[1]];
        let took = |seconds| Took { seconds, cpu: None };
        let scratch = |kind: Kind, psnr| Scratch {
            kind: kind.name().into(),
            psnr,
            took: took(80.0),
            steps: 1,
            bytes: 1,
            curve: vec![Point { took: took(80.0), psnr }],
        };
        let pair = Pair {
            teacher: kinds[0].name().into(),
            student: kinds[1].name().into(),
            psnr: 29.0,
            psnr_teacher: 30.0,
            took: took(8.0),
            steps: 1,
            bytes: 1,
            curve: Vec::new(),
        };
        let table = Table {
            work: "x".into(),
            scratch: vec![scratch(kinds[0], 31.0), scratch(kinds[1], 30.0)],
            pairs: vec![pair],
        };
        let drawn = svg(&table, &kinds);
        assert!(drawn.contains("29.0 (+1.0)") && drawn.contains("8 s, ×10.0"), "{drawn}");
        assert_eq!(drawn.matches("fill=\"#ffffff\"").count(), 3, "three pairs were not measured");
        assert_eq!(drawn.matches(&colour(1.0)).count(), 1);
        assert!(colour(0.0) != colour(1.0) && colour(1.0) != colour(5.0) && colour(-1.0) == colour(0.0));
    }
}
