//! Samples of many rays in one array: ray `i` owns the rows `ray_start[i]..ray_start[i + 1]`.
//!
//! `ray_start [r + 1]` starts at 0, never falls, and ends at the number of samples. Work is shared out by runs of rays,
//! so that a ray is summed by one thread in one order and the result does not depend on how many threads there are.

/// Rays that one task takes.
pub const RAYS_PER_TASK: usize = 64;

/// The number of rays that `ray_start [r + 1]` describes.
///
/// # Panics
/// If `ray_start` does not describe `samples` samples: that is a mistake in the caller, not in a file.
pub fn ray_count(ray_start: &[u32], samples: usize) -> usize {
    assert_eq!(ray_start.first().copied().unwrap_or(0), 0, "ray_start begins at 0");
    assert_eq!(ray_start.last().copied().unwrap_or(0) as usize, samples, "ray_start ends at the number of samples");
    assert!(ray_start.is_sorted(), "ray_start never falls");
    ray_start.len().saturating_sub(1)
}

/// Cuts `data [n, width]` into the rows of each [`RAYS_PER_TASK`] rays.
pub fn split_rows<'a, T>(mut data: &'a mut [T], width: usize, ray_start: &[u32]) -> Vec<&'a mut [T]> {
    let rays = ray_start.len().saturating_sub(1);
    let mut pieces = Vec::with_capacity(rays.div_ceil(RAYS_PER_TASK));
    for first in (0..rays).step_by(RAYS_PER_TASK) {
        let rows = ray_start[(first + RAYS_PER_TASK).min(rays)] - ray_start[first];
        let (piece, rest) = data.split_at_mut(rows as usize * width);
        pieces.push(piece);
        data = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_rays() {
        let ray_start: Vec<u32> = (0..=130).map(|i| i * 2).collect();
        let mut data: Vec<u32> = (0..260 * 3).collect();
        let pieces = split_rows(&mut data, 3, &ray_start);
        assert_eq!(pieces.iter().map(|p| p.len()).collect::<Vec<_>>(), [64 * 6, 64 * 6, 2 * 6]);
        assert_eq!(pieces[1][0], 64 * 6);
        assert_eq!(ray_count(&ray_start, 260), 130);
        assert_eq!(ray_count(&[0], 0), 0);
        assert!(split_rows(&mut [0_u8; 0], 3, &[0]).is_empty());
    }

    #[test]
    #[should_panic(expected = "ends at the number of samples")]
    fn a_wrong_total_is_noticed() {
        ray_count(&[0, 3], 4);
    }
}
