//! The packed `.ply`, as `files::splats::compressed_ply` reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::splats("compressed-ply", bytes));
