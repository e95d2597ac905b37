//! How long a picture takes, learned from those that were drawn: `seconds = fixed + per_pixel · pixels`, by least squares
//! in which older pictures count less. Gaussians are sorted however small the picture is, so pixels a second alone would
//! say of a small picture that pixels are dear, and the next one would be smaller still.

/// How much a picture counts after the next one.
const MEMORY: f64 = 0.7;
/// Pixels a second before anything was measured.
const GUESS: f64 = 1.5e5;
/// What the guess counts, beside a picture's 1: enough to tell two numbers from one size of picture.
const GUESS_COUNTS: f64 = 0.02;

/// What is known. The sums are over pictures, of weights, pixels, seconds and their products.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    count: f64,
    pixels: f64,
    seconds: f64,
    squares: f64,
    products: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { count: 0.0, pixels: 0.0, seconds: 0.0, squares: 0.0, products: 0.0 }
    }
}

impl Pace {
    /// A picture, or a band of one, was drawn.
    pub fn note(&mut self, pixels: f64, seconds: f64) {
        for sum in [&mut self.count, &mut self.pixels, &mut self.seconds, &mut self.squares, &mut self.products] {
            *sum *= MEMORY;
        }
        self.count += 1.0;
        self.pixels += pixels;
        self.seconds += seconds;
        self.squares += pixels * pixels;
        self.products += pixels * seconds;
    }

    /// Seconds that a picture takes however small it is, and seconds a pixel.
    fn line(&self) -> [f64; 2] {
        if self.count == 0.0 {
            return [0.0, 1.0 / GUESS];
        }
        // Nothing takes no time; that is known before anything is measured.
        let count = self.count + GUESS_COUNTS;
        let spread = self.squares * count - self.pixels * self.pixels;
        let slope = (self.products * count - self.pixels * self.seconds) / spread.max(1e-9);
        let most = self.seconds / self.pixels.max(1.0);
        let slope = slope.clamp(0.01 * most, most);
        [((self.seconds - slope * self.pixels) / count).max(0.0), slope]
    }

    /// The pixels that can be drawn in this time, perhaps fewer than one.
    pub fn pixels_in(&self, seconds: f64) -> f64 {
        let [fixed, slope] = self.line();
        (seconds - fixed).max(0.0) / slope
    }

    /// One picture of each of two takes as long as both.
    pub fn and(&self, other: &Self) -> Self {
        let ([a, b], [c, d]) = (self.line(), other.line());
        let mut both = Self::default();
        for pixels in [1e3, 1e6] {
            both.note(pixels, a + c + (b + d) * pixels);
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_are_learned_from_pictures_of_two_sizes() {
        let mut pace = Pace::default();
        assert!((pace.pixels_in(0.1) - 0.1 * GUESS).abs() < 1.0);
        let takes = |pixels: f64| 0.03 + pixels * 2e-7;
        for pixels in [2e3, 5e5, 2e3, 5e5, 2e3, 2e3] {
            pace.note(pixels, takes(pixels));
        }
        let pixels = pace.pixels_in(0.05);
        assert!((takes(pixels) - 0.05).abs() < 5e-3, "{pixels}");
        let both = pace.and(&pace).pixels_in(0.1);
        assert!((2.0 * takes(both) - 0.1).abs() < 1e-2, "{both}");
        // It follows what changes.
        for _ in 0..12 {
            pace.note(2e3, 1e-3);
            pace.note(2e4, 1e-2);
        }
        let pixels = pace.pixels_in(0.05);
        assert!((0.7e5..1.3e5).contains(&pixels), "{pixels}");
    }

    /// Where sizes settle when each picture is as large as the last ones say.
    #[test]
    fn a_dear_sort_does_not_make_pictures_ever_smaller() {
        let mut pace = Pace::default();
        let mut pixels = 0.0;
        for _ in 0..60 {
            pixels = pace.pixels_in(0.05).clamp(2e3, 1e6);
            pace.note(pixels, 0.03 + pixels * 2e-7);
        }
        assert!((5e4..1.5e5).contains(&pixels), "{pixels}: 1e5 is right");
    }
}
