//! What several representations share: encodings, small networks, the occupancy grid, the warp of unbounded scenes, and
//! what starts without training are fitted by.

pub mod cholesky;
pub mod contraction;
pub mod core;
pub mod factored;
pub mod fast_math;
pub mod frequency;
pub mod looks;
pub mod network;
pub mod occupancy;
pub mod packed;
pub mod sh;
pub mod sh_turn;
pub mod trunc_exp;
