//! Random numbers from named seeds: the same seed and name give the same stream on every machine.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): `z = state += γ`, then two xor-shift-multiplies. It is small, passes
//! `BigCrush`, and can be started at any index, which is what parallel ray batches need.

/// A stream of random numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream called `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let named =
            name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
        Self { state: mix(seed.wrapping_mul(GAMMA) ^ named) }
    }

    /// The `index`-th independent stream called `name` under `seed`: one per ray, per step, per primitive.
    pub fn at(seed: u64, name: &str, index: u64) -> Self {
        let base = Self::new(seed, name);
        Self { state: mix(base.state ^ mix(index.wrapping_add(GAMMA))) }
    }

    /// The position in the stream, for a checkpoint.
    pub fn state(&self) -> u64 {
        self.state
    }

    /// The stream at a position that [`Rng::state`] gave.
    pub fn from_state(state: u64) -> Self {
        Self { state }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// Uniform in `[0, 1)`, 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..n`; 0 for `n = 0`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn a_named_stream_repeats_and_names_differ() {
        let mut a = Rng::new(7, "rays");
        let mut b = Rng::new(7, "rays");
        let mut c = Rng::new(7, "poses");
        let first = a.next_u64();
        assert_eq!(first, b.next_u64());
        assert_ne!(first, c.next_u64());
        assert_ne!(Rng::at(7, "rays", 0).next_u64(), Rng::at(7, "rays", 1).next_u64());
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut rng = Rng::new(1, "moments");
        let n = 100_000;
        let uniform: f64 = (0..n).map(|_| f64::from(rng.uniform())).sum::<f64>() / f64::from(n);
        let square: f64 = (0..n).map(|_| f64::from(rng.normal()).powi(2)).sum::<f64>() / f64::from(n);
        assert!((uniform - 0.5).abs() < 0.005, "mean of uniform is {uniform}");
        assert!((square - 1.0).abs() < 0.02, "variance of normal is {square}");
        assert!((0..1000).all(|_| rng.below(3) < 3));
    }
}
