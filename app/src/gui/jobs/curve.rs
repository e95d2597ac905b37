//! A curve of a job, thinned as it grows.

/// Points of a curve; when there are more, every second one is kept.
pub(super) const POINTS: usize = 400;

/// Points `[step, value]` of a curve, at most [`POINTS`] of them.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    points: Vec<[f64; 2]>,
    /// One of this many values is kept.
    every: usize,
    seen: usize,
}

impl Curve {
    /// The points, in the order of steps.
    pub fn points(&self) -> &[[f64; 2]] {
        &self.points
    }

    pub(super) fn push(&mut self, step: u32, value: f32) {
        if !value.is_finite() {
            return;
        }
        self.every = self.every.max(1);
        if self.seen.is_multiple_of(self.every) {
            self.points.push([f64::from(step), f64::from(value)]);
        }
        self.seen += 1;
        if self.points.len() > POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }
}
