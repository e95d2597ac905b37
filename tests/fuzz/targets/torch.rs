//! Checkpoints of PyTorch, as `files::trainers::torch` and the trainers behind it read them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::torch(bytes));
