//! The `.ply` of Gaussians, as `files::splats::ply` reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::splats("ply", bytes));
