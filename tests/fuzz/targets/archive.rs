//! Our own `.safetensors`, as `files::archive` reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::archive(bytes));
