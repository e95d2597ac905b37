//! Snapshots of instant-ngp, as `files::trainers::ingp` reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::msgpack(bytes));
