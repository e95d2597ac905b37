//! Gaussians in glTF, as `files::splats::khr_glb` reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::splats("glb", bytes));
