//! Instant-NGP's multi-resolution hash encoding (Müller, Evans, Schied, Keller 2022, arXiv 2201.05989).

pub mod cpu;
mod face;
mod gpu;
pub mod reference;
pub mod resize;
pub mod spec;

pub use face::hash_encode;
pub use spec::HashSpec;

#[cfg(test)]
mod tests;
