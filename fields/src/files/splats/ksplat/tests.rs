use super::super::gaussians::tests::sample;
use super::super::rows::tests::{apart, read, refuses_cuts, survives_damage, turned_apart};
use super::*;

/// A section of a file: Gaussians in buckets, the full ones with two, the others with one.
struct Part {
    splats: Splats,
    buckets: Vec<[f32; 3]>,
    full: usize,
}

const SIDE: f32 = 6.0;
const HARMONICS: [f32; 2] = [-0.5, 0.75];

/// All in buckets of two as long as they last; the last has one where their number is odd.
fn part(n: usize, degree: u32) -> Part {
    let splats = sample(n, degree);
    let buckets = splats.means.chunks(2).map(|some| some[0].map(|v| v + 0.25)).collect();
    Part { splats, buckets, full: n / 2 }
}

/// A file as the published writer makes it.
fn file(parts: &[Part], level: u16) -> Vec<u8> {
    let count: usize = parts.iter().map(|part| part.splats.len()).sum();
    let mut head = vec![0; HEADER];
    let put = |to: &mut [u8], at: usize, bytes: &[u8]| to[at..at + bytes.len()].copy_from_slice(bytes);
    head[1] = 1;
    for (at, value) in [(4, parts.len()), (8, parts.len()), (12, count), (16, count)] {
        put(&mut head, at, &(value as u32).to_le_bytes());
    }
    put(&mut head, 20, &level.to_le_bytes());
    put(&mut head, 36, &HARMONICS[0].to_le_bytes());
    put(&mut head, 40, &HARMONICS[1].to_le_bytes());
    let mut data = Vec::new();
    for part in parts {
        let others = part.buckets.len() - part.full;
        let mut header = vec![0; SECTION];
        let n = part.splats.len();
        let fields = [(0, n), (4, n), (8, 2), (12, part.buckets.len()), (24, 32767), (32, part.full), (36, others)];
        let fields = fields.into_iter().filter(|(at, _)| level > 0 || *at < 8);
        fields.for_each(|(at, value)| put(&mut header, at, &(value as u32).to_le_bytes()));
        put(&mut header, 40, &(part.splats.sh_degree as u16).to_le_bytes());
        if level > 0 {
            put(&mut header, 16, &SIDE.to_le_bytes());
            put(&mut header, 20, &12_u16.to_le_bytes());
            (0..others).for_each(|_| data.extend(1_u32.to_le_bytes()));
            data.extend(part.buckets.iter().flatten().flat_map(|v| v.to_le_bytes()));
        }
        head.extend(header);
        (0..n).for_each(|i| record(part, level, i, &mut data));
    }
    head.extend(data);
    head
}

fn record(part: &Part, level: u16, i: usize, data: &mut Vec<u8>) {
    let splats = &part.splats;
    let half = |value: f32| f16::from_f32(value).to_le_bytes();
    let shape = splats.log_scales[i].map(f32::exp).into_iter().chain(splats.rotations[i]);
    if level == 0 {
        data.extend(splats.means[i].into_iter().chain(shape).flat_map(f32::to_le_bytes));
    } else {
        for (v, centre) in splats.means[i].iter().zip(part.buckets[i / 2]) {
            let place = ((v - centre) * 32767.0 / (SIDE * 0.5)).round() + 32767.0;
            data.extend((place.clamp(0.0, 65535.0) as u16).to_le_bytes());
        }
        data.extend(shape.flat_map(half));
    }
    let colour = splats.sh_dc[i].map(rows::colour_from_dc).into_iter().chain([rows::sigmoid(splats.raw_opacity[i])]);
    data.extend(colour.map(|c| (c * 255.0).clamp(0.0, 255.0) as u8));
    for band in 1..=splats.sh_degree as usize {
        for channel in 0..3 {
            for k in band * band - 1..(band + 1) * (band + 1) - 1 {
                let value = splats.rest(i)[3 * k + channel];
                match level {
                    0 => data.extend(value.to_le_bytes()),
                    1 => data.extend(half(value)),
                    _ => data.push(((value - HARMONICS[0]) / (HARMONICS[1] - HARMONICS[0]) * 255.0) as u8),
                }
            }
        }
    }
}

/// The same drawn together, so that two neighbours in the list fit into a bucket of [`SIDE`].
fn near(mut part: Part) -> Part {
    part.splats.means.iter_mut().flatten().for_each(|v| *v *= 0.5);
    part.buckets = part.splats.means.chunks(2).map(|some| some[0].map(|v| v + 0.25)).collect();
    part
}

fn beyond(want: &Splats, back: &Splats, level: u16) -> Option<&'static str> {
    let half = 2.0_f32.powi(-11);
    let [place, shape, harmonic] = match level {
        0 => [0.0, 1e-6, 0.0],
        1 => [0.5 * SIDE / 65534.0 + 1e-6, half, 0.5 * half],
        _ => [0.5 * SIDE / 65534.0 + 1e-6, half, (HARMONICS[1] - HARMONICS[0]) / 255.0 + 1e-6],
    };
    let colour = |s: &Splats| -> Vec<f32> {
        let colours = s.sh_dc.as_flattened().iter().map(|dc| rows::colour_from_dc(*dc).clamp(0.0, 1.0));
        colours.chain(s.raw_opacity.iter().map(|raw| rows::sigmoid(*raw))).collect()
    };
    [
        ("centres", apart(want.means.as_flattened(), back.means.as_flattened()) > place),
        // An error of ln is a relative one.
        ("scales", apart(want.log_scales.as_flattened(), back.log_scales.as_flattened()) > 1.1 * shape),
        ("rotations", turned_apart(&want.rotations, &back.rotations) > 2.0 * shape),
        ("colours", apart(&colour(want), &colour(back)) > 1.0 / 255.0 + 1e-6),
        ("harmonics", apart(&want.sh_rest, &back.sh_rest) > harmonic),
    ]
    .into_iter()
    .find_map(|(name, wrong)| wrong.then_some(name))
}

#[test]
fn every_level_and_degree_is_read() {
    for level in 0..3 {
        for degree in 0..3 {
            let part = near(part(301, degree));
            let bytes = file(std::slice::from_ref(&part), level);
            assert!(Ksplat.recognises(&bytes[..4096]));
            let about = Ksplat.peek(&mut Source::memory(&bytes)).unwrap();
            assert_eq!((about.count, about.sh_degree), (301, degree));
            assert_eq!(about.variant, format!("version 0.1, level {level}"));
            let back = read(&Ksplat, &bytes).unwrap();
            assert_eq!(beyond(&part.splats, &back, level), None, "level {level} degree {degree}");
            for (name, spoil) in [
                ("centres", (|s: &mut Splats| s.means[300][2] += 1e-3) as fn(&mut Splats)),
                ("scales", |s: &mut Splats| s.log_scales[300][2] += 0.002),
                ("rotations", |s: &mut Splats| s.rotations[300][1] += 0.1),
                ("colours", |s: &mut Splats| s.sh_dc.iter_mut().flatten().for_each(|dc| *dc += 0.02)),
            ] {
                let mut bad = back.clone();
                spoil(&mut bad);
                assert_eq!(beyond(&part.splats, &bad, level), Some(name), "the negative control");
            }
            if degree > 0 {
                let mut bad = back;
                bad.sh_rest.swap(0, 1);
                assert_eq!(beyond(&part.splats, &bad, level), Some("harmonics"), "the negative control");
            }
        }
    }
}

#[test]
fn sections_follow_each_other() {
    for level in 0..3 {
        let parts = [near(part(5, 0)), near(part(4, 2)), near(part(7, 1))];
        let back = read(&Ksplat, &file(&parts, level)).unwrap();
        assert_eq!((back.len(), back.sh_degree), (16, 2));
        for (i, from, k) in [(4, 0, 4), (5, 1, 0), (9, 2, 0), (15, 2, 6)] {
            let want = &parts[from].splats;
            assert!(apart(&back.means[i], &want.means[k]) < 1e-4, "level {level}");
            let width = rest_per_splat(want.sh_degree);
            assert!(apart(&back.rest(i)[..width], want.rest(k)) < 6e-3);
            assert!(back.rest(i)[width..].iter().all(|v| *v == 0.0));
        }
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let good = file(&[near(part(5, 1)), near(part(4, 1))], 1);
    let section = HEADER + SECTION;
    for (at, bytes, says) in [
        (0, [1, 1, 0, 0], "version 1.1"),
        (0, [0, 0, 0, 0], "version 0.0"),
        (4, [0xFF; 4], "short"),
        (16, [0xFF; 4], "4294967295"),
        (16, [8, 0, 0, 0], "8 Gaussians"),
        (20, [3, 0, 0, 0], "level is 3"),
        (section, [0xFF; 4], "places"),
        (section + 4, [0xFF; 4], ""),
        (section + 8, [0xFF; 4], ""),
        (section + 12, [0xFF; 4], "short"),
        (section + 12, [1, 0, 0, 0], ""),
        (section + 20, [13, 0, 0, 0], "13 bytes"),
        (section + 36, [0xFF; 4], "short"),
        (section + 40, [4, 0, 0, 0], "degree 4"),
    ] {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&bytes);
        match read(&Ksplat, &bad) {
            Err(error) => assert!(error.what.contains(says), "{error}"),
            Ok(_) => assert_eq!(says, "", "{at}"),
        }
    }
    // Buckets that are said to hold fewer than there are.
    let mut few = good.clone();
    few[HEADER + 32..HEADER + 36].copy_from_slice(&0_u32.to_le_bytes());
    assert!(read(&Ksplat, &few).is_err_and(|e| e.what.contains("none of its 3 buckets")));
    // Sections of nothing that are said to be far away.
    let mut far = file(&[near(part(5, 1))], 0);
    far[4..8].copy_from_slice(&3_u32.to_le_bytes());
    let mut header = vec![0; SECTION];
    header[4..8].fill(0xFF);
    header[12..22].fill(0xFF);
    far.splice(HEADER + SECTION..HEADER + SECTION, header.repeat(2));
    assert_eq!(read(&Ksplat, &far).unwrap().len(), 5);
    far[HEADER + 2 * SECTION] = 1;
    assert!(read(&Ksplat, &far).is_err_and(|e| e.what.contains("short")));
    let empty = file(&[], 0);
    assert!(read(&Ksplat, &empty).is_err() && !Ksplat.recognises(&empty));
}

#[test]
fn what_is_not_a_number_is_refused() {
    let good = file(&[near(part(5, 1))], 0);
    for k in [0, 3, 6, 11] {
        let mut bad = good.clone();
        bad[HEADER + SECTION + 80 * 2 + 4 * k..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(read(&Ksplat, &bad).is_err_and(|e| e.what.contains("Gaussian 2")), "{k}");
    }
    let mut bad = file(&[near(part(5, 1))], 2);
    bad[HEADER + 16..HEADER + 20].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert!(read(&Ksplat, &bad).is_err_and(|e| e.what.contains("centre")));
}

#[test]
fn cuts_and_damage_are_survived() {
    for level in 0..3 {
        let bytes = file(&[near(part(5, 1)), near(part(4, 0))], level);
        let at = HEADER + 2 * SECTION;
        refuses_cuts(&Ksplat, &bytes, &[HEADER, HEADER + SECTION, at, at + 4, at + 40, bytes.len()]);
        // Most of the header means nothing: damage what does.
        let mut short = bytes.clone();
        short.drain(USED..HEADER);
        survives_damage(&Padded(bytes.len()), &short, 700);
    }
}

/// Reads what was cut out of the header back in.
struct Padded(usize);

impl Format for Padded {
    fn name(&self) -> &'static str {
        "padded"
    }
    fn label(&self) -> &'static str {
        ""
    }
    fn endings(&self) -> &'static [&'static str] {
        &[]
    }
    fn recognises(&self, head: &[u8]) -> bool {
        Ksplat.recognises(head)
    }
    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        Ksplat.peek(source)
    }
    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let mut bytes = source.all()?;
        let zeros = (self.0 - bytes.len().min(self.0)).min(HEADER - USED);
        bytes.splice(USED.min(bytes.len())..USED.min(bytes.len()), std::iter::repeat_n(0, zeros));
        Ksplat.read(&mut Source::memory(&bytes))
    }
}
