//! Floaters: what hangs in the air beside an object. Cells of the occupancy grid that are solid to the eye are put
//! together where they touch; pieces much smaller than the largest are floaters, and so is all haze.

use glam::{UVec3, Vec3};

use super::Object;
use super::object::Placed;
use super::region::Cells;
use crate::error::{Error, Result};

/// A cell is solid where its light is stopped by at least this share.
const SOLID: f32 = 0.1;
/// Cells around a piece that stay with it: its own soft edge.
const RIM: i32 = 2;
/// Places asked in a cell, along each axis.
const ASKED: usize = 2;

/// What is left without floaters.
#[derive(Clone, Debug)]
pub struct Cleared {
    /// The cells that stay.
    pub keep: Cells,
    /// Pieces that go.
    pub pieces: usize,
    /// The largest of them, as a share of the largest piece of all.
    pub largest: f32,
}

/// Finds the floaters of an object as its edits leave it: pieces below `share` (0 to 1) of the largest one. `None` where
/// there are none.
///
/// # Errors
/// When nothing of the object is solid, or its scene is unbounded: there, everything far away would be a floater.
pub fn find(object: &Object, share: f32) -> Result<Option<Cleared>> {
    let scene = object.field.scene().clone();
    if scene.unbounded {
        let what = "floaters of an unbounded scene cannot be told from its background";
        return Err(Error::new(what).remedy("select them and erase them"));
    }
    object.check()?;
    let placed = Placed::new(Object { transform: crate::data::Similarity::default(), ..object.clone() }, &scene);
    let (n, bounds) = (placed.grid.resolution(), placed.grid.bounds());
    let solid = solid_cells(&placed);
    let (piece_of, sizes) = pieces(&solid, n as i32);
    let Some(largest) = sizes.iter().copied().max() else {
        return Err(Error::new("nothing of the object is solid").remedy("train it longer, or undo its edits"));
    };
    let stays = |piece: u32| sizes[piece as usize] as f32 >= share * largest as f32;
    let gone: Vec<usize> = (0..sizes.len()).filter(|&p| !stays(p as u32)).map(|p| sizes[p]).collect();
    let Some(most) = gone.iter().max() else { return Ok(None) };
    let kept: Vec<bool> = piece_of.iter().map(|piece| piece.is_some_and(stays)).collect();
    let wide = widened(&kept, n as i32);
    // A floater goes also where it is near.
    let keep = Cells::new(bounds, UVec3::splat(n), |i| wide[i] && (kept[i] || piece_of[i].is_none()));
    Ok(Some(Cleared { keep, pieces: gone.len(), largest: *most as f32 / largest as f32 }))
}

/// Which cells of the object's grid stop light, x rising fastest.
fn solid_cells(placed: &Placed) -> Vec<bool> {
    let grid = &placed.grid;
    let (n, cell) = (grid.resolution() as usize, 1.0 / grid.cells_per_unit());
    let mut solid = vec![false; n * n * n];
    let least = (-(1.0 - SOLID).ln() / cell.min_element()).ln();
    let offset = |k: usize| (k as f32 + 0.5) / ASKED as f32 - 0.5;
    let occupied: Vec<usize> = grid.occupied().collect();
    // A network is asked in parts, so that memory stays small.
    for part in occupied.chunks(1 << 14) {
        let mut places = Vec::with_capacity(3 * ASKED.pow(3) * part.len());
        for &at in part {
            let centre = grid.cell_centre(at);
            for k in 0..ASKED.pow(3) {
                let side = Vec3::new(offset(k % ASKED), offset(k / ASKED % ASKED), offset(k / ASKED / ASKED));
                places.extend((centre + side * cell).to_array());
            }
        }
        let said = placed.ask(&places);
        for (&row, &log_sigma) in said.rows.iter().zip(&said.log_sigma) {
            if log_sigma >= least {
                let centre = grid.cell_centre(part[row as usize / ASKED.pow(3)]);
                let at = grid.locate(centre).unwrap_or_default().as_usizevec3();
                solid[(at.z * n + at.y) * n + at.x] = true;
            }
        }
    }
    solid
}

/// The cells around cell `at`, those that are in the grid.
fn around(at: usize, n: i32, reach: i32) -> impl Iterator<Item = usize> {
    let side = n as usize;
    let [x, y, z] = [at % side, at / side % side, at / side / side].map(|v| v as i32);
    let span = move |v: i32| (v - reach).max(0)..=(v + reach).min(n - 1);
    span(z).flat_map(move |z| span(y).flat_map(move |y| span(x).map(move |x| ((z * n + y) * n + x) as usize)))
}

/// The piece of each solid cell, and how many cells each piece has. Cells that share a corner hang together.
fn pieces(solid: &[bool], n: i32) -> (Vec<Option<u32>>, Vec<usize>) {
    let (mut piece_of, mut sizes) = (vec![None; solid.len()], Vec::new());
    let mut open = Vec::new();
    for start in 0..solid.len() {
        if !solid[start] || piece_of[start].is_some() {
            continue;
        }
        let piece = sizes.len() as u32;
        sizes.push(0);
        piece_of[start] = Some(piece);
        open.push(start);
        while let Some(at) = open.pop() {
            sizes[piece as usize] += 1;
            for next in around(at, n, 1) {
                if solid[next] && piece_of[next].is_none() {
                    piece_of[next] = Some(piece);
                    open.push(next);
                }
            }
        }
    }
    (piece_of, sizes)
}

/// The cells with those around them.
fn widened(cells: &[bool], n: i32) -> Vec<bool> {
    let mut wide = cells.to_vec();
    for at in (0..cells.len()).filter(|&at| cells[at]) {
        around(at, n, RIM).for_each(|next| wide[next] = true);
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_touches() {
        let n = 6;
        let at = |x: i32, y: i32, z: i32| ((z * n + y) * n + x) as usize;
        let mut solid = vec![false; 216];
        // Two that share a corner, and one two cells away.
        for cell in [at(0, 0, 0), at(1, 1, 1), at(3, 3, 3)] {
            solid[cell] = true;
        }
        let (piece_of, sizes) = pieces(&solid, n);
        assert_eq!(sizes, [2, 1]);
        assert_eq!((piece_of[at(0, 0, 0)], piece_of[at(1, 1, 1)]), (Some(0), Some(0)));
        assert_eq!((piece_of[at(3, 3, 3)], piece_of[at(2, 2, 2)]), (Some(1), None));
        let wide = widened(&(0..216).map(|i| i == at(0, 3, 5)).collect::<Vec<_>>(), n);
        assert_eq!(wide.iter().filter(|w| **w).count(), 3 * 5 * 3, "the grid's faces cut it off");
    }
}
