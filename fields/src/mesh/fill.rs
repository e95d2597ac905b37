//! The texels that no chart covers, filled so that nothing bleeds at seams, not even in a texture made smaller.
//!
//! First rings around the charts: an empty texel beside covered ones takes their mean, ring after ring. Then push and pull
//! (Gortler et al. 1996, section 3.4): the picture is halved again and again, each coarse texel the mean of those of its four
//! that have a colour, and what is still empty takes the bilinear value of the next coarser level, which has one everywhere.

use rayon::prelude::*;

/// Fills a picture.
///
/// `rgb` is `[height, width, 3]`, `known` `[height, width]` says which texels have a colour; these keep it. `rings` is how
/// many texels outwards only the nearest colours count. Without a single known texel nothing changes.
pub fn fill(rgb: &mut [u8], known: &[bool], width: usize, rings: u32) {
    let mut level = Level { width, rgb: rgb.as_chunks::<3>().0.to_vec(), known: known.to_vec() };
    if !known.contains(&true) {
        return;
    }
    for _ in 0..rings {
        level.grow();
    }
    level.pull();
    rgb.as_chunks_mut::<3>().0.copy_from_slice(&level.rgb);
}

struct Level {
    width: usize,
    rgb: Vec<[u8; 3]>,
    known: Vec<bool>,
}

impl Level {
    fn height(&self) -> usize {
        self.rgb.len() / self.width
    }

    /// The mean colour of the known ones among these texels.
    fn mean(&self, texels: impl Iterator<Item = usize>) -> Option<[u8; 3]> {
        let (mut sum, mut count) = ([0_u32; 3], 0);
        for at in texels.filter(|&at| self.known[at]) {
            (0..3).for_each(|c| sum[c] += u32::from(self.rgb[at][c]));
            count += 1;
        }
        (count > 0).then(|| sum.map(|s| ((s + count / 2) / count) as u8))
    }

    /// One ring more.
    fn grow(&mut self) {
        let (w, h) = (self.width, self.height());
        let around = |at: usize| {
            let (x, y) = (at % w, at / w);
            let rows = y.saturating_sub(1)..(y + 2).min(h);
            rows.flat_map(move |y| (x.saturating_sub(1)..(x + 2).min(w)).map(move |x| y * w + x))
        };
        let empty = (0..self.rgb.len()).into_par_iter().filter(|&at| !self.known[at]);
        let ring: Vec<_> = empty.filter_map(|at| Some((at, self.mean(around(at))?))).collect();
        for (at, colour) in ring {
            (self.rgb[at], self.known[at]) = (colour, true);
        }
    }

    fn halved(&self) -> Self {
        let (w, h) = (self.width, self.height());
        let (half_w, half_h) = (w.div_ceil(2), h.div_ceil(2));
        let of = |at: usize| {
            let (x, y) = (2 * (at % half_w), 2 * (at / half_w));
            (y..(y + 2).min(h)).flat_map(move |y| (x..(x + 2).min(w)).map(move |x| y * w + x))
        };
        let means: Vec<_> = (0..half_w * half_h).into_par_iter().map(|at| self.mean(of(at))).collect();
        Self {
            width: half_w,
            known: means.iter().map(Option::is_some).collect(),
            rgb: means.into_iter().map(Option::unwrap_or_default).collect(),
        }
    }

    /// Fills what is left from coarser levels.
    fn pull(&mut self) {
        if !self.known.contains(&false) {
            return;
        }
        // At one texel something is known, so this ends.
        let mut coarse = self.halved();
        coarse.pull();
        let (w, half_w, half_h) = (self.width, coarse.width as isize, coarse.height() as isize);
        let texel = |x: isize, y: isize| {
            coarse.rgb[(y.clamp(0, half_h - 1) * half_w + x.clamp(0, half_w - 1)) as usize].map(u32::from)
        };
        let known = &self.known;
        self.rgb.par_iter_mut().enumerate().filter(|(at, _)| !known[*at]).for_each(|(at, colour)| {
            let (x, y) = ((at % w) as isize, (at / w) as isize);
            // Three quarters from the texel above this one, one from the neighbour on the side it lies on.
            let ([near_x, far_x], [near_y, far_y]) =
                ([x / 2, x / 2 + 2 * (x % 2) - 1], [y / 2, y / 2 + 2 * (y % 2) - 1]);
            let four = [(near_x, near_y, 9), (far_x, near_y, 3), (near_x, far_y, 3), (far_x, far_y, 1)];
            *colour = std::array::from_fn(|c| {
                let sum: u32 = four.iter().map(|&(x, y, weight)| weight * texel(x, y)[c]).sum();
                ((sum + 8) / 16) as u8
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texels_stay_and_all_others_get_a_colour_near_by() {
        // Odd sides: a red corner below left, a green one above right.
        let (w, h) = (37, 21);
        let (mut rgb, mut known) = (vec![0; 3 * w * h], vec![false; w * h]);
        for (x, y, colour) in [(2, 18, [200, 0, 0]), (3, 18, [210, 0, 0]), (35, 1, [0, 180, 0])] {
            known[y * w + x] = true;
            rgb[3 * (y * w + x)..][..3].copy_from_slice(&colour);
        }
        fill(&mut rgb, &known, w, 2);
        let at = |x: usize, y: usize| [0, 1, 2].map(|c| rgb[3 * (y * w + x) + c]);
        assert_eq!([at(2, 18), at(3, 18), at(35, 1)], [[200, 0, 0], [210, 0, 0], [0, 180, 0]]);
        assert_eq!([at(1, 17), at(4, 18), at(36, 0)], [[200, 0, 0], [210, 0, 0], [0, 180, 0]], "the first ring");
        assert_eq!(at(36, 3), [0, 180, 0], "the second ring");
        assert!(rgb.as_chunks::<3>().0.iter().all(|c| c[0] > 0 || c[1] > 0), "a texel was left");
        let [left, right] = [at(0, 20), at(33, 5)];
        assert!(left[0] > 2 * left[1] && right[1] > right[0], "{left:?} {right:?}");
    }

    #[test]
    fn nothing_known_changes_nothing_and_one_texel_fills_all() {
        let mut rgb = vec![7; 3 * 12];
        fill(&mut rgb, &[false; 12], 4, 3);
        assert_eq!(rgb, vec![7; 36]);
        rgb[..3].copy_from_slice(&[1, 2, 3]);
        let mut known = [false; 12];
        known[0] = true;
        fill(&mut rgb, &known, 4, 0);
        assert!(rgb.as_chunks::<3>().0.iter().all(|c| *c == [1, 2, 3]));
    }
}
