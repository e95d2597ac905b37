//! What is done with each input. An input is a file; where checksums would keep the fuzzer out of a file within another one,
//! an input that begins with [`PARTS`] is packed first.

use std::io::{Cursor, Read, Write};

use zip::write::FileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::files::archive::{Archive, header_of};
use crate::files::splats::{FORMATS, Format, Source, Splats, recognised, rest_per_splat};
use crate::files::trainers::torch::Checkpoint;
use crate::files::trainers::{Held, ingp, pytorch, svox2};

/// What an input begins with that is packed before it is read.
pub const PARTS: u8 = b'+';

/// The files of a `.sog`, in the order of an input's parts.
pub const SOG: &[&str] = &[
    "meta.json",
    "means_l.webp",
    "means_u.webp",
    "scales.webp",
    "quats.webp",
    "sh0.webp",
    "shN_centroids.webp",
    "shN_labels.webp",
];
/// The arrays of an `.npz`.
pub const NPZ: &[&str] =
    &["radius.npy", "center.npy", "links.npy", "density_data.npy", "sh_data.npy", "basis_type.npy", "data.npy"];
/// The members of a checkpoint.
pub const TORCH: &[&str] = &[
    "archive/data.pkl",
    "archive/data/0",
    "archive/data/1",
    "archive/data/2",
    "archive/data/3",
    "archive/data/4",
    "archive/data/5",
    "archive/data/6",
    "archive/data/7",
    "archive/data/8",
    "archive/data/9",
    "archive/data/10",
    "archive/data/11",
    "archive/data/12",
    "archive/data/13",
    "archive/data/14",
    "archive/data/15",
    "archive/data/16",
    "archive/data/17",
    "archive/data/18",
    "archive/data/19",
    "archive/version",
];

/// Makes the fuzzer's own thread rayon's only one, so that the same input takes the same path.
fn one_thread() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
        pool.build_global().expect("there is no pool before the first input");
    });
}

/// The format called `name`.
///
/// # Panics
/// If there is none.
pub fn format(name: &str) -> &'static dyn Format {
    let found = FORMATS.iter().find(|format| format.name() == name);
    *found.unwrap_or_else(|| panic!("no format is called {name}"))
}

/// Reads Gaussians, and checks that what was read fits together.
///
/// # Panics
/// If the reader does, or gives what it should not.
pub fn splats(name: &str, bytes: &[u8]) {
    one_thread();
    let _ = recognised(bytes);
    let about = format(name).peek(&mut Source::memory(bytes));
    let Ok(splats) = format(name).read(&mut Source::memory(bytes)) else { return };
    let about = about.expect("what can be read says what it is");
    assert_eq!(about.count, splats.len(), "peek says another number");
    sound(&splats);
}

fn sound(splats: &Splats) {
    let n = splats.len();
    assert!(n > 0 && splats.sh_degree <= 3);
    assert_eq!([splats.log_scales.len(), splats.rotations.len(), splats.raw_opacity.len(), splats.sh_dc.len()], [n; 4]);
    assert_eq!(splats.sh_rest.len(), n * rest_per_splat(splats.sh_degree));
    let parts = [
        splats.means.as_flattened(),
        splats.log_scales.as_flattened(),
        splats.rotations.as_flattened(),
        &splats.raw_opacity,
        splats.sh_dc.as_flattened(),
        &splats.sh_rest,
    ];
    assert!(parts.iter().all(|values| values.iter().all(|v| v.is_finite())), "a value is not finite");
}

/// As [`splats`]; parts are packed by gzip.
pub fn splats_in_gzip(name: &str, bytes: &[u8]) {
    match bytes.split_first() {
        Some((&PARTS, plain)) => splats(name, &gzip(plain)),
        _ => splats(name, bytes),
    }
}

/// As [`splats`]; parts are the members of a zip file.
pub fn splats_in_zip(name: &str, names: &[&str], bytes: &[u8]) {
    splats(name, &zipped(names, bytes));
}

/// Reads a mesh, and checks that what was read fits together.
///
/// # Panics
/// If the reader does, or gives what it should not.
pub fn mesh(bytes: &[u8]) {
    one_thread();
    if let Ok(imported) = crate::mesh::import::read_bytes(bytes, None) {
        crate::mesh::check(&imported.mesh).expect("what was read is a mesh");
    }
}

/// Reads a file of ours, and writes it again.
///
/// # Panics
/// If the reader does, or what it gives cannot be written and read.
pub fn archive(bytes: &[u8]) {
    one_thread();
    let header = header_of(bytes, bytes.len() as u64);
    let Ok(archive) = Archive::from_bytes(bytes) else { return };
    assert_eq!(header.expect("its header can be read alone").tensors.len(), archive.tensors.len());
    whole(&archive);
}

fn whole(archive: &Archive) {
    let bytes = archive.to_bytes().expect("values fill their shapes");
    let again = Archive::from_bytes(&bytes).expect("what is written can be read");
    assert_eq!((archive.tensors.len(), archive.bytes.len()), (again.tensors.len(), again.bytes.len()));
}

fn held(result: crate::error::Result<(Held, Vec<String>)>) {
    match result {
        Ok((Held::Field(archive), _)) => whole(&archive),
        Ok((Held::Gaussians(splats), _)) => sound(&splats),
        Err(_) => {}
    }
}

/// Values of a checkpoint that are looked at.
const VISITED: usize = 500;

/// Reads a checkpoint: its values and tensors one by one, and as a trainer's.
///
/// # Panics
/// If a reader does, or gives what it should not.
pub fn torch(bytes: &[u8]) {
    one_thread();
    let packed = zipped(TORCH, bytes);
    let mut source = Source::memory(&packed);
    let _ = pytorch::recognises(&packed);
    let Ok(file) = Checkpoint::open(&mut source) else { return };
    let mut left = vec![file.root()];
    for _ in 0..VISITED {
        let Some(value) = left.pop() else { break };
        if let Some(tensor) = value.tensor() {
            if let Ok(values) = file.read_f32(&mut source, tensor) {
                assert_eq!(values.len(), tensor.shape.iter().product::<usize>());
            }
            let _ = (file.check(tensor), file.read_whole(&mut source, tensor));
        }
        let _ = (value.array().map(|a| a.bytes.len()), value.number(), value.text(), value.count(), value.numbers());
        left.extend(value.items().take(VISITED));
        left.extend(value.entries().map(|(_, value)| value).take(VISITED));
    }
    held(pytorch::read(&mut Source::memory(&packed)));
}

/// Reads a grid of svox2.
///
/// # Panics
/// If the reader does, or gives what it should not.
pub fn npz(bytes: &[u8]) {
    one_thread();
    let packed = zipped(NPZ, bytes);
    let _ = svox2::recognises(&packed);
    held(svox2::read(&mut Source::memory(&packed)));
}

/// Reads a snapshot of instant-ngp; parts are packed by gzip.
///
/// # Panics
/// If the reader does, or gives what it should not.
pub fn msgpack(bytes: &[u8]) {
    one_thread();
    let packed = match bytes.split_first() {
        Some((&PARTS, plain)) => gzip(plain),
        _ => bytes.to_vec(),
    };
    let _ = ingp::recognises(&packed);
    held(ingp::read(&mut Source::memory(&packed)));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(bytes).and_then(|()| packed.finish()).expect("memory can be written")
}

/// The zip file of an input's parts, each behind its length (u16); other inputs as they are. Parts of length 0 are left out.
fn zipped(names: &[&str], bytes: &[u8]) -> Vec<u8> {
    let Some((&PARTS, mut left)) = bytes.split_first() else { return bytes.to_vec() };
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        let Some((length, rest)) = left.split_first_chunk() else { break };
        let (part, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
        left = rest;
        if !part.is_empty() {
            let options = FileOptions::default().compression_method(CompressionMethod::Stored);
            let put = zip.start_file(*name, options).map(|()| zip.write_all(part));
            put.expect("a file of few bytes").expect("memory can be written");
        }
    }
    zip.finish().expect("memory can be written").into_inner()
}

/// The input whose parts are a zip file's.
///
/// # Panics
/// If it is none, or a part does not fit.
pub fn parts_of(names: &[&str], packed: &[u8]) -> Vec<u8> {
    let mut zip = ZipArchive::new(Cursor::new(packed)).expect("a zip file");
    let mut input = vec![PARTS];
    for name in names {
        let mut part = Vec::new();
        if let Ok(mut file) = zip.by_name(name) {
            file.read_to_end(&mut part).expect("a sound zip file");
        }
        input.extend(u16::try_from(part.len()).expect("a small part").to_le_bytes());
        input.extend(part);
    }
    input
}
