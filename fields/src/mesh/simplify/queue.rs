//! Edges by price, nearly sorted: a heap of a million edges misses the cache at every step, and was two thirds of the
//! time.
//!
//! Prices are not negative, so the bits of their f32 rise with them; the upper ones name a drawer, 16 to a doubling of
//! the price. The next edge is the last that went into the lowest drawer: at most a sixteenth dearer than the cheapest.

/// Bits of an f32 that are left out of a drawer's name.
const SHIFT: u32 = 19;
/// Drawers, of which the last hold infinity.
const DRAWERS: usize = 1 << (31 - SHIFT);

/// An edge that may collapse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) ends: [u32; 2],
    /// The sum of both ends' ages when the price was found: if they have moved since, it is void.
    pub(super) age: u32,
    /// Where to: the best place of all, or the better of the two ends.
    pub(super) to_end: bool,
}

/// Edges by price.
pub(super) struct Queue {
    drawers: Vec<Vec<Candidate>>,
    /// Which drawers are not empty, a bit each.
    full: [u64; DRAWERS / 64],
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { drawers: vec![Vec::new(); DRAWERS], full: [0; DRAWERS / 64] }
    }

    /// Takes an edge in; `price` is not negative. One without a price (NaN) is left out.
    pub(super) fn push(&mut self, price: f64, candidate: Candidate) {
        if price.is_nan() {
            return;
        }
        let drawer = ((price.max(0.0) as f32).to_bits() >> SHIFT) as usize;
        self.drawers[drawer].push(candidate);
        self.full[drawer / 64] |= 1 << (drawer % 64);
    }

    /// One of the cheapest edges.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        let word = self.full.iter().position(|word| *word != 0)?;
        let drawer = 64 * word + self.full[word].trailing_zeros() as usize;
        let candidate = self.drawers[drawer].pop();
        if self.drawers[drawer].is_empty() {
            self.full[word] &= self.full[word] - 1;
        }
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn edges_come_out_nearly_sorted() {
        let mut rng = Rng::new(2, "prices");
        let prices: Vec<f64> = (0..5000).map(|_| f64::from(10.0 * rng.normal()).exp()).chain([0.0, 1e99]).collect();
        let mut queue = Queue::new();
        for (i, &price) in prices.iter().enumerate() {
            queue.push(price, Candidate { ends: [i as u32, 0], age: 0, to_end: false });
        }
        queue.push(f64::NAN, Candidate { ends: [u32::MAX, 0], age: 0, to_end: false });
        let order: Vec<f64> =
            std::iter::from_fn(|| queue.pop()).map(|candidate| prices[candidate.ends[0] as usize]).collect();
        assert_eq!(order.len(), prices.len());
        assert_eq!((order[0], order[5001]), (0.0, 1e99));
        assert!(order.windows(2).all(|pair| pair[0] <= pair[1] * (1.0 + 1.0 / 16.0)));
        assert!(!order.is_sorted());
        // What comes in later and is cheaper goes first.
        queue.push(3.0, Candidate { ends: [1, 0], age: 0, to_end: false });
        queue.push(2.0, Candidate { ends: [2, 0], age: 0, to_end: true });
        assert_eq!(queue.pop().unwrap().ends[0], 2);
    }
}
