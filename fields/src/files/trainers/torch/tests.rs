use ::zip::CompressionMethod;

use super::value::Dtype;
use super::written::{Py, Stored, checkpoint, dict, pickle, stored, tensor, text, zipped};
use super::{Checkpoint, TensorRef, Value, recognises};
use crate::error::{Error, Result};
use crate::files::splats::Source;
use crate::rng::Rng;

fn opened(file: &[u8]) -> Result<Checkpoint> {
    Checkpoint::open(&mut Source::memory(file))
}

fn refusal(root: &Py) -> Error {
    opened(&checkpoint(root)).err().expect("refused")
}

/// The values of the tensor called `name`.
fn read(file: &[u8], name: &str) -> Result<Vec<f32>> {
    let checkpoint = opened(file)?;
    let found: &TensorRef = checkpoint.root().get(name).and_then(Value::tensor).expect("a tensor");
    checkpoint.read_f32(&mut Source::memory(file), found)
}

#[test]
fn values_come_back() {
    let root = dict([
        ("none", Py::None),
        ("yes", Py::Bool(true)),
        ("int", Py::Int(-7)),
        ("float", Py::Float(0.25)),
        ("list", Py::List(vec![Py::Int(3), Py::Float(0.5), text("é")])),
        ("numbers", Py::Tuple(vec![Py::Int(1), Py::Float(2.5)])),
        ("twice", Py::Int(1)),
        ("twice", Py::Int(2)),
        ("array", Py::Array(vec![2, 2], vec![1, 128, 200, 255])),
        ("inner", dict([("weight", tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]))])),
    ]);
    let file = checkpoint(&root);
    assert!(recognises(&file[..64]) && !recognises(b"PK\x03\x04") && !recognises(&file[1..64]));
    let checkpoint = opened(&file).unwrap();
    let root = checkpoint.root();
    let get = |name: &str| root.get(name).expect("it is there");
    assert!(get("none").is_none() && !get("yes").is_none());
    assert_eq!((get("yes").count(), get("int").number(), get("int").count()), (Some(1), Some(-7.0), None));
    assert_eq!((get("float").number(), get("twice").count()), (Some(0.25), Some(2)));
    assert_eq!(get("list").items().filter_map(Value::text).collect::<Vec<_>>(), ["é"]);
    assert_eq!((get("list").numbers(), get("numbers").numbers()), (None, Some(vec![1.0, 2.5])));
    let array = get("array").array().unwrap();
    assert_eq!((array.dtype, array.bytes), (Dtype::Unsigned(1), [1, 128, 200, 255].as_slice()));
    let weight = get("inner").get("weight").and_then(Value::tensor).unwrap();
    assert_eq!(checkpoint.read_f32(&mut Source::memory(&file), weight).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(root.entries().count(), 10);
    assert!(root.get("absent").is_none() && get("list").get("x").is_none() && get("int").tensor().is_none());
}

/// What torch 2.15 itself writes for `{"a": torch.tensor([[1., 2.], [3., 4.]]).t(), "n": 3}`.
#[test]
fn a_pickle_of_torch_is_understood() {
    let pickle = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storageq\x03\
        ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\x06K\x04tq\x07QK\x00K\x02K\x02\x86q\x08K\x01K\x02\
        \x86q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rX\x01\x00\x00\x00nq\x0eK\x03u.";
    let values: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let file = zipped(pickle, &[values], CompressionMethod::Stored);
    assert_eq!(read(&file, "a").unwrap(), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(opened(&file).unwrap().root().get("n").and_then(Value::count), Some(3));
}

/// The same of protocol 4, and an array of numpy of protocol 5.
#[test]
fn later_protocols_are_understood() {
    let four = b"\x80\x04\x95\x99\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\
        \x93\x94((\x8c\x07storage\x94\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94\x8c\x010\x94\x8c\x03cpu\x94K\x02t\x94QK\x00\
        K\x02\x85\x94K\x01\x85\x94\x89\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94t\x94R\x94\x8c\x01n\x94K\x03u.";
    let values: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(read(&zipped(four, &[values], CompressionMethod::Stored), "a").unwrap(), [1.5, -2.0]);
    let five = b"\x80\x05\x95~\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94\x8c\x13numpy._core.numeric\x94\x8c\x0b_frombuffer\x94\x93\
        \x94(\x96\x03\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\
        \x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bK\x03\x85\x94\x8c\x01C\x94t\x94R\x94s.";
    let checkpoint = opened(&zipped(five, &[], CompressionMethod::Stored)).unwrap();
    assert_eq!(checkpoint.root().get("a").and_then(Value::array).unwrap().bytes, [0, 1, 2]);
}

/// What torch writes with `_use_new_zipfile_serialization=False` for `{"a": torch.tensor([1., 2.]), "n": 3}`.
fn old_file() -> Vec<u8> {
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00(X\x10\x00\x00\x00protocol_versionq\x01M\xe9\x03\
        X\r\x00\x00\x00little_endianq\x02\x88u.\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\
        \x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x0e\x00\x00\x0094862004929392q\x05X\x03\x00\x00\x00cpuq\x06K\x02Ntq\x07Q\
        K\x00K\x02\x85q\x08K\x01\x85q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rX\x01\x00\x00\x00nq\x0eK\x03u.\x80\x02]\
        q\x00X\x0e\x00\x00\x0094862004929392q\x01a.\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@"
        .to_vec()
}

#[test]
fn files_from_before_the_zip_are_read() {
    let file = old_file();
    assert!(recognises(&file));
    assert_eq!(read(&file, "a").unwrap(), [1.0, 2.0]);
    for length in 0..file.len() {
        assert!(opened(&file[..length]).is_err(), "{length} bytes");
    }
    let mut lies = file.clone();
    let at = lies.len() - 16;
    lies[at] = 200;
    assert!(opened(&lies).is_err());
}

#[test]
fn every_type_is_read() {
    type Case = (&'static str, &'static [u8], &'static [f32]);
    let cases: [Case; 10] = [
        ("HalfStorage", &[0x00, 0x3c, 0x00, 0xc0], &[1.0, -2.0]),
        ("BFloat16Storage", &[0x80, 0x3f, 0x00, 0xc0], &[1.0, -2.0]),
        ("FloatStorage", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], &[1.0, -2.0]),
        ("DoubleStorage", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f], &[1.0]),
        ("BoolStorage", &[1, 0, 1], &[1.0, 0.0, 1.0]),
        ("ByteStorage", &[255, 1], &[255.0, 1.0]),
        ("CharStorage", &[255, 1], &[-1.0, 1.0]),
        ("ShortStorage", &[0xfe, 0xff], &[-2.0]),
        ("IntStorage", &[0xfd, 0xff, 0xff, 0xff], &[-3.0]),
        ("LongStorage", &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[-4.0]),
    ];
    for (kind, bytes, values) in cases {
        let file = checkpoint(&dict([("a", Py::Tensor(stored(kind, &[values.len()], values.len(), bytes.to_vec())))]));
        assert_eq!(read(&file, "a").unwrap(), values, "{kind}");
        let checkpoint = opened(&file).unwrap();
        let found = checkpoint.root().get("a").and_then(Value::tensor).unwrap();
        let whole = checkpoint.read_whole(&mut Source::memory(&file), found);
        let fractions = ["Half", "BFloat16", "Float", "Double"].iter().any(|name| kind == format!("{name}Storage"));
        assert_eq!(whole.ok(), (!fractions).then(|| values.iter().map(|v| *v as i64).collect()), "{kind}");
    }
}

#[test]
fn strides_are_followed() {
    let bytes: Vec<u8> = (0..24).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let of = |shape: &[i64], stride: &[i64], first: i64| {
        let tensor = Stored {
            kind: "FloatStorage",
            shape: shape.to_vec(),
            stride: stride.to_vec(),
            first,
            elements: 24,
            bytes: bytes.clone(),
        };
        read(&checkpoint(&dict([("a", Py::Tensor(tensor))])), "a")
    };
    assert_eq!(of(&[2, 3], &[1, 2], 0).unwrap(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    assert_eq!(of(&[2, 2], &[12, 3], 4).unwrap(), [4.0, 7.0, 16.0, 19.0]);
    assert_eq!(of(&[3, 1], &[1, 999], 21).unwrap(), [21.0, 22.0, 23.0]);
    assert_eq!(of(&[], &[], 5).unwrap(), [5.0]);
    assert_eq!(of(&[0, 7], &[7, 1], 0).unwrap(), [0.0; 0]);
    assert_eq!(of(&[4], &[0], 9).unwrap(), [9.0; 4]);
}

#[test]
fn lies_about_tensors_are_refused() {
    let honest = stored("FloatStorage", &[2, 3], 6, vec![0; 24]);
    let check = |tensor: Stored| {
        let file = checkpoint(&dict([("a", Py::Tensor(tensor))]));
        read(&file, "a").map(drop)
    };
    assert!(check(honest.clone()).is_ok());
    for lie in [
        Stored { shape: vec![2, 4], ..honest.clone() },
        Stored { shape: vec![i64::MAX, 3], ..honest.clone() },
        Stored { shape: vec![1 << 62, 1 << 62], ..honest.clone() },
        Stored { shape: vec![-1, 3], ..honest.clone() },
        Stored { shape: vec![2], ..honest.clone() },
        Stored { shape: vec![1; 9], stride: vec![1; 9], ..honest.clone() },
        Stored { stride: vec![4, 1], ..honest.clone() },
        Stored { stride: vec![i64::MAX, i64::MAX], ..honest.clone() },
        Stored { stride: vec![-3, 1], ..honest.clone() },
        Stored { shape: vec![7], stride: vec![0], ..honest.clone() },
        Stored { first: 1, ..honest.clone() },
        Stored { first: i64::MAX, ..honest.clone() },
        Stored { first: -1, ..honest.clone() },
        Stored { elements: -6, ..honest.clone() },
        // The storage itself is shorter than the pickle says.
        Stored { elements: 7, ..honest.clone() },
        Stored { elements: i64::MAX, shape: vec![1 << 40], stride: vec![1], ..honest.clone() },
        Stored { bytes: vec![0; 23], ..honest.clone() },
        Stored { kind: "DoubleStorage", ..honest.clone() },
    ] {
        let about = (lie.shape.clone(), lie.stride.clone(), lie.first, lie.elements);
        assert!(check(lie).is_err_and(|e| !e.remedy.is_empty()), "{about:?}");
    }
}

#[test]
fn code_is_refused_by_name() {
    let ask = |instructions: &[u8]| refusal(&dict([("model", Py::Raw(instructions.to_vec()))])).to_string();
    let error = ask(b"cos\nsystem\nX\x04\x00\x00\x00echo\x85R");
    assert!(error.contains("os.system") && error.contains("nothing of it was run"), "{error}");
    assert!(ask(b"\x8c\x05posix\x8c\x06system\x93").contains("posix.system"));
    assert!(ask(b"(ios\nsystem\n").contains("os.system"));
    assert!(ask(b"c__builtin__\neval\n").contains("__builtin__.eval"));
    assert!(ask(b"cargparse\nNamespace\n)\x81}b").contains("argparse.Namespace"));
    assert!(ask(b"ctorch\nload\n").contains("torch.load"));
    assert!(ask(b"ctorch\nComplexFloatStorage\n").contains("ComplexFloatStorage"));
    assert!(ask(b"ccollections\nOrderedDict.update\n").contains("OrderedDict.update"));
    assert!(ask(b"(ccollections\nOrderedDict\no").contains("0x6f"));
    // What a file says is shown as text, and not all of it.
    let long = ask(&[b"c\x1b[2J".as_slice(), &[b'a'; 5000], b"\nb\n"].concat());
    assert!(!long.contains('\u{1b}') && long.len() < 400, "{long}");
    // The same in a file from before the zip.
    let mut old = old_file();
    let at = old.windows(5).position(|w| w == b"torch").unwrap();
    old[at..at + 5].copy_from_slice(b"shell");
    assert!(opened(&old).is_err_and(|e| e.what.contains("shell._utils")));
}

#[test]
fn known_names_are_called_as_documented_or_not_at_all() {
    for instructions in [
        b"ctorch\nFloatStorage\n)R".as_slice(),
        b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R",
        b"ccollections\nOrderedDict\nK\x01\x85R",
        b"ctorch\nSize\nK\x01\x85R",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00base64\x86R",
        b"c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R",
        b"cnumpy\ndtype\nX\x01\x00\x00\x00O\x89\x88\x87R",
        b"cnumpy.core.multiarray\n_reconstruct\nK\x01\x85R",
        b"cnumpy.core.multiarray\nscalar\nK\x01K\x01\x86R",
        b"K\x01)R",
        b"ccollections\nOrderedDict\nK\x01R",
        b"K\x01K\x02b",
        b"K\x01Q",
        b"(X\x06\x00\x00\x00bufferK\x00K\x00K\x00K\x00tQ",
    ] {
        let error = refusal(&Py::Raw(instructions.to_vec()));
        assert!(!error.remedy.is_empty(), "{error}");
    }
    let scalar = Py::Raw(
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xff\
            J\xff\xff\xff\xffK\x00tbC\x08\x00\x00\x00\x00\x00\x00\x04@\x86R"
            .to_vec(),
    );
    let Ok(checkpoint) = opened(&checkpoint(&scalar)) else { panic!("a scalar of numpy") };
    assert_eq!(checkpoint.root().number(), Some(2.5));
}

#[test]
fn bombs_stay_small() {
    // Nested a million deep: nothing recurses.
    let deep = Py::Raw([vec![b']'; 1_000_000], vec![b'a'; 999_999]].concat());
    assert!(opened(&checkpoint(&deep)).is_ok());
    let marks = Py::Raw(vec![b'('; 1_000_000]);
    assert!(opened(&checkpoint(&marks)).is_err());
    // A list that holds itself, and lists of lists that would be 2⁶⁴ values if they were written out.
    assert!(opened(&checkpoint(&Py::Raw(b"]q\x00h\x00a".to_vec()))).is_ok());
    let laughs = (0..64_u8).flat_map(|i| [b']', b'q', i + 1, b'(', b'h', i, b'h', i, b'e']);
    assert!(opened(&checkpoint(&Py::Raw(b"]q\x00".iter().copied().chain(laughs).collect()))).is_ok());
    // One long text as the argument of a hundred thousand calls.
    let long = vec![b'a'; 1 << 16];
    let text =
        [b"c_codecs\nencode\nq\x00X\x00\x00\x01\x00".as_slice(), &long, b"X\x06\x00\x00\x00latin1\x86q\x01R"].concat();
    let calls = [text, b"h\x00h\x01R".repeat(100_000)].concat();
    assert!(refusal(&Py::Raw(calls)).what.contains("over and over"));
    // A shape of 65536 axes, asked for as often.
    let shape =
        [b"ctorch\nSize\nq\x00(".as_slice(), &vec![b'N'; 65_536], b"t\x85q\x01R", &b"h\x00h\x01R".repeat(10_000)]
            .concat();
    assert!(refusal(&Py::Raw(shape)).what.contains("over and over"));
    // More values than there is room for.
    assert!(refusal(&Py::Raw(vec![b'N'; 5_000_000])).what.contains("values beside its tensors"));
    // Lengths that are not there.
    for instructions in [
        b"X\xff\xff\xff\xffa".as_slice(),
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8e\0\0\0\0\0\0\0\x80",
    ] {
        assert!(opened(&checkpoint(&Py::Raw(instructions.to_vec()))).is_err());
    }
}

#[test]
fn damaged_pickles_are_errors() {
    for instructions in [
        b"".as_slice(),
        b"a",
        b"e",
        b"s",
        b"u",
        b"t",
        b"R",
        b"b",
        b"0",
        b"1",
        b"h\x05",
        b"K",
        b"(K\x01u",
        b"K\x01K\x02a",
        b"(\x85",
        b"K\x01K\x02K\x03s",
        b"]K\x01K\x02s",
        b"}(K\x01u",
        b"X\x01\x00\x00\x00\xff",
        b"\x80\x09",
        b"I1\n",
        b"\xff",
    ] {
        assert!(opened(&checkpoint(&Py::Raw(instructions.to_vec()))).is_err(), "{instructions:?}");
    }
    for pickle in [b"".as_slice(), b"\x80", b"\x80\x02", b"}.", b"\x80\x02."] {
        assert!(opened(&zipped(pickle, &[], CompressionMethod::Stored)).is_err());
    }
}

#[test]
fn damaged_zips_are_errors() {
    let root = dict([("a", tensor(&[2], &[1.0, 2.0]))]);
    let file = checkpoint(&root);
    for length in 0..file.len() {
        assert!(opened(&file[..length]).is_err(), "{length} bytes");
    }
    let (pickle, storages) = pickle(&root);
    let error = opened(&zipped(&pickle, &storages, CompressionMethod::Deflated)).err().expect("refused");
    assert!(error.what.contains("compressed"), "{error}");
    // Numbers of the end records: members, size and place of the directory, place of the zip64 record.
    let end64 = file.len() - 22 - 20 - 56;
    for (at, lie) in [
        (end64 + 32, 1 << 40),
        (end64 + 40, 1),
        (end64 + 48, u64::MAX),
        (end64 + 56 + 8, 1),
        (end64 + 56 + 8, u64::MAX),
    ] {
        let mut lies = file.clone();
        lies[at..at + 8].copy_from_slice(&lie.to_le_bytes());
        assert!(opened(&lies).is_err(), "{at}");
    }
    assert!(opened(&[file.as_slice(), b"more"].concat()).is_err());
    assert!(opened(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").is_err());
    assert!(opened(b"PK").is_err() && opened(b"").is_err());
    let big_endian = {
        let mut file = file.clone();
        let at = file.windows(6).position(|w| w == b"little").unwrap();
        file[at..at + 6].copy_from_slice(b"big\0\0\0");
        file
    };
    assert!(opened(&big_endian).is_err_and(|e| e.what.contains("big-endian")));
}

#[test]
fn flipped_bytes_never_panic() {
    let root = dict([
        ("a", tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
        ("b", Py::Array(vec![3], vec![1, 2, 3])),
        ("c", Py::List(vec![Py::Int(1), Py::Float(2.0), text("three")])),
    ]);
    let (new, old) = (checkpoint(&root), old_file());
    let mut rng = Rng::new(1, "flipped bytes");
    let mut refused = 0;
    for round in 0..6000 {
        let mut file = if round % 3 == 0 { old.clone() } else { new.clone() };
        for _ in 0..=rng.below(3) {
            let at = rng.below(file.len());
            file[at] = rng.below(256) as u8;
        }
        let Ok(checkpoint) = opened(&file) else {
            refused += 1;
            continue;
        };
        for (_, value) in checkpoint.root().entries() {
            if let Some(tensor) = value.tensor() {
                let _ = checkpoint.read_f32(&mut Source::memory(&file), tensor);
            }
            let _ = (value.array().map(|a| a.bytes.len()), value.numbers(), value.text());
        }
    }
    assert!((1000..6000).contains(&refused), "{refused}");
}
