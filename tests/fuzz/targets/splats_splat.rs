//! The `.splat`, as `files::splats::splat` reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::splats("splat", bytes));
