//! Values that change over a run, as data: `0.01`, or `[[0.0, 1e-2], [0.5, 1e-2], [1.0, 1e-4]]`.
//!
//! The first of each pair is the share of the run that is over, in `[0, 1]`, so that a shorter run (`--steps`,
//! `--time`) is the same run in fewer steps. Between two points a positive value moves geometrically, others linearly.

use serde::{Deserialize, Serialize};

/// A number, or points `[share of the run, value]` in rising order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Schedule {
    /// The same value throughout.
    Constant(f32),
    /// Points to go through; before the first and after the last the value stays.
    Points(Vec<[f32; 2]>),
}

impl Schedule {
    /// The value where `share` of the run is over.
    pub fn at(&self, share: f32) -> f32 {
        let points = match self {
            Self::Constant(value) => return *value,
            Self::Points(points) => points,
        };
        let after = points.iter().position(|p| p[0] > share);
        match after {
            Some(0) => points[0][1],
            None => points.last().map_or(0.0, |p| p[1]),
            Some(i) => {
                let ([x0, y0], [x1, y1]) = (points[i - 1], points[i]);
                let f = (share - x0) / (x1 - x0);
                if y0 > 0.0 && y1 > 0.0 { y0 * (y1 / y0).powf(f) } else { y0 + (y1 - y0) * f }
            }
        }
    }

    /// Whether every number is finite and the points rise.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Constant(value) => value.is_finite(),
            Self::Points(points) => {
                !points.is_empty()
                    && points.iter().flatten().all(|v| v.is_finite())
                    && points.windows(2).all(|w| w[0][0] < w[1][0])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn it_goes_through_its_points() {
        let s = Schedule::Points(vec![[0.0, 1e-2], [0.5, 1e-2], [1.0, 1e-4]]);
        assert_eq!(s.at(0.0), 1e-2);
        assert_eq!(s.at(0.25), 1e-2);
        assert!((s.at(0.75) - 1e-3).abs() < 1e-8, "half-way of a geometric fall");
        assert_eq!(s.at(1.5), 1e-4);
        let ramp = Schedule::Points(vec![[0.2, 0.0], [0.4, 1.0]]);
        assert!((ramp.at(0.3) - 0.5).abs() < 1e-6 && ramp.at(0.0) == 0.0);
        assert!(s.is_sound() && !Schedule::Points(vec![[0.5, 1.0], [0.5, 2.0]]).is_sound());
    }

    #[test]
    fn it_reads_as_a_number_or_as_points() {
        #[derive(serde::Deserialize)]
        struct Holder {
            a: Schedule,
            b: Schedule,
        }
        let holder: Holder = toml::from_str("a = 0.5\nb = [[0.0, 1.0], [1.0, 2.0]]").expect("both forms");
        assert_eq!(holder.a, Schedule::Constant(0.5));
        assert_eq!(holder.b, Schedule::Points(vec![[0.0, 1.0], [1.0, 2.0]]));
    }
}
