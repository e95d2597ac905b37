//! Grids of svox2, as `files::trainers::svox2` reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::npz(bytes));
