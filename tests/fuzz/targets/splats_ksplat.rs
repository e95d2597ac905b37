//! The `.ksplat`, as `files::splats::ksplat` reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::splats("ksplat", bytes));
