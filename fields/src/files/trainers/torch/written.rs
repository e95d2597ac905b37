//! Checkpoints for tests, written as torch 2 writes them: pickles of protocol 2 in a zip without compression.

use std::io::{Cursor, Write};

use ::zip::write::FileOptions;
use ::zip::{CompressionMethod, ZipWriter};

/// What Python would pickle.
#[derive(Clone)]
pub(in crate::files::trainers) enum Py {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Py>),
    Tuple(Vec<Py>),
    Dict(Vec<(String, Py)>),
    Tensor(Stored),
    /// Bytes of numpy, `u1`, of this shape.
    Array(Vec<i64>, Vec<u8>),
    /// Instructions as they are.
    Raw(Vec<u8>),
}

/// A tensor and its storage.
#[derive(Clone)]
pub(in crate::files::trainers) struct Stored {
    /// `"FloatStorage"`
    pub kind: &'static str,
    pub shape: Vec<i64>,
    pub stride: Vec<i64>,
    pub first: i64,
    /// What the pickle says of the storage's length.
    pub elements: i64,
    pub bytes: Vec<u8>,
}

/// A tensor of single precision.
pub(in crate::files::trainers) fn tensor(shape: &[usize], values: &[f32]) -> Py {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Py::Tensor(stored("FloatStorage", shape, values.len(), bytes))
}

/// A tensor of whatever type.
pub(in crate::files::trainers) fn stored(
    kind: &'static str,
    shape: &[usize],
    elements: usize,
    bytes: Vec<u8>,
) -> Stored {
    let shape: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
    let stride = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    Stored { kind, shape, stride, first: 0, elements: elements as i64, bytes }
}

/// A dictionary.
pub(in crate::files::trainers) fn dict<const N: usize>(pairs: [(&str, Py); N]) -> Py {
    Py::Dict(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

/// A text.
pub(in crate::files::trainers) fn text(text: &str) -> Py {
    Py::Str(text.to_string())
}

/// The pickle, and the bytes of each storage.
pub(in crate::files::trainers) fn pickle(root: &Py) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut writer = Writer { out: vec![0x80, 2], storages: Vec::new() };
    writer.put(root);
    writer.out.push(b'.');
    (writer.out, writer.storages)
}

struct Writer {
    out: Vec<u8>,
    storages: Vec<Vec<u8>>,
}

impl Writer {
    fn put(&mut self, value: &Py) {
        match value {
            Py::None => self.out.push(b'N'),
            Py::Bool(v) => self.out.push(0x89 - u8::from(*v)),
            Py::Int(v) => {
                self.out.extend([0x8a, 8]);
                self.out.extend(v.to_le_bytes());
            }
            Py::Float(v) => {
                self.out.push(b'G');
                self.out.extend(v.to_be_bytes());
            }
            Py::Str(v) => self.str(v),
            Py::List(items) => {
                self.out.extend(b"](");
                items.iter().for_each(|item| self.put(item));
                self.out.push(b'e');
            }
            Py::Tuple(items) => {
                self.out.push(b'(');
                items.iter().for_each(|item| self.put(item));
                self.out.push(b't');
            }
            Py::Dict(pairs) => {
                self.out.extend(b"ccollections\nOrderedDict\n)R(");
                for (name, value) in pairs {
                    self.str(name);
                    self.put(value);
                }
                self.out.push(b'u');
            }
            Py::Tensor(tensor) => self.tensor(tensor),
            Py::Array(shape, bytes) => self.array(shape, bytes),
            Py::Raw(instructions) => self.out.extend(instructions),
        }
    }

    fn str(&mut self, text: &str) {
        self.out.push(b'X');
        self.out.extend((text.len() as u32).to_le_bytes());
        self.out.extend(text.as_bytes());
    }

    fn ints(&mut self, values: &[i64]) {
        self.put(&Py::Tuple(values.iter().map(|v| Py::Int(*v)).collect()));
    }

    fn tensor(&mut self, tensor: &Stored) {
        self.out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.str("storage");
        self.out.extend(format!("ctorch\n{}\n", tensor.kind).as_bytes());
        self.str(&self.storages.len().to_string());
        self.str("cuda:0");
        self.put(&Py::Int(tensor.elements));
        self.out.extend(b"tQ");
        self.put(&Py::Int(tensor.first));
        self.ints(&tensor.shape);
        self.ints(&tensor.stride);
        self.out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        self.storages.push(tensor.bytes.clone());
    }

    /// Bytes, in protocol 2 the text that Latin-1 makes of them.
    fn array(&mut self, shape: &[i64], bytes: &[u8]) {
        self.out.extend(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85c_codecs\nencode\n");
        self.str("b");
        self.str("latin1");
        self.out.extend(b"\x86R\x87R(K\x01");
        self.ints(shape);
        self.out.extend(b"cnumpy\ndtype\n");
        self.str("u1");
        self.out.extend(b"\x89\x88\x87R(K\x03");
        self.str("|");
        self.out.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89c_codecs\nencode\n");
        self.str(&bytes.iter().map(|b| char::from(*b)).collect::<String>());
        self.str("latin1");
        self.out.extend(b"\x86Rtb");
    }
}

/// A file.
pub(in crate::files::trainers) fn checkpoint(root: &Py) -> Vec<u8> {
    let (pickle, storages) = pickle(root);
    zipped(&pickle, &storages, CompressionMethod::Stored)
}

/// A file of these parts, with torch's zip64 records at its end.
pub(in crate::files::trainers) fn zipped(pickle: &[u8], storages: &[Vec<u8>], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = FileOptions::default().compression_method(method);
    let storages = storages.iter().enumerate().map(|(i, bytes)| (format!("data/{i}"), bytes.as_slice()));
    let first = [("data.pkl".to_string(), pickle), ("byteorder".to_string(), b"little".as_slice())];
    for (name, bytes) in first.into_iter().chain(storages) {
        zip.start_file(format!("model/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let mut file = zip.finish().unwrap().into_inner();
    let end = file.split_off(file.len() - 22);
    let at = file.len() as u64;
    let number = |from: usize, n: usize| end[from..from + n].iter().rev().fold(0_u64, |v, b| v << 8 | u64::from(*b));
    let (count, size, first) = (number(10, 2), number(12, 4), number(16, 4));
    file.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x1e\x03\x2d\0\0\0\0\0\0\0\0\0");
    [count, count, size, first].iter().for_each(|v| file.extend(v.to_le_bytes()));
    file.extend(b"PK\x06\x07\0\0\0\0");
    file.extend(at.to_le_bytes());
    file.extend(b"\x01\0\0\0");
    file.extend(end);
    file
}
