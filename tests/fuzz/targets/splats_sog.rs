//! SOG, as `files::splats::sog` reads it: a zip file of pictures and `meta.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::splats_in_zip("sog", retort_fuzz::inputs::SOG, bytes));
