//! Meshes, glTF and OBJ, as `mesh::import` reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retort_fuzz::inputs::mesh(bytes));
