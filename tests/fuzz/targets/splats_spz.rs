//! SPZ, as `files::splats::spz` reads it: versions 1 to 3 within gzip, and 4.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::splats_in_gzip("spz", bytes));
