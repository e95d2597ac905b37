//! The header of a PLY file (Turk 1994): lines of text that say which elements follow, and what each row of them holds.
//!
//! ```text
//! ply
//! format binary_little_endian 1.0
//! comment anything
//! element vertex 1000
//! property float x
//! property list uchar int vertex_indices
//! end_header
//! ```
//!
//! After the last line the rows of each element follow in turn, without gaps. Harmonics are named `f_rest_i`, with all of
//! red before green before blue.

use std::io::{BufReader, Read};

use super::gaussians::{SH_MAX, rest_per_splat};
use super::rows::bytes_at;
use super::source::{Source, short};
use crate::error::{Error, Result};

/// A longer header is not one of Gaussians.
pub(super) const MAX_HEADER: usize = 64 << 10;
/// More elements than any writer has.
const MAX_ELEMENTS: usize = 64;
/// More properties of an element than any writer has.
const MAX_PROPERTIES: usize = 1024;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// A line of words for each row.
    Ascii,
    /// Little-endian values.
    Little,
    /// Big-endian values.
    Big,
}

impl Encoding {
    /// It in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ascii => "ascii",
            Self::Little => "binary little endian",
            Self::Big => "binary big endian",
        }
    }
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// `char`.
    I8,
    /// `uchar`.
    U8,
    /// `short`.
    I16,
    /// `ushort`.
    U16,
    /// `int`.
    I32,
    /// `uint`.
    U32,
    /// `float`.
    F32,
    /// `double`.
    F64,
}

impl Scalar {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "char" | "int8" => Self::I8,
            "uchar" | "uint8" => Self::U8,
            "short" | "int16" => Self::I16,
            "ushort" | "uint16" => Self::U16,
            "int" | "int32" => Self::I32,
            "uint" | "uint32" => Self::U32,
            "float" | "float32" => Self::F32,
            "double" | "float64" => Self::F64,
            _ => return None,
        })
    }

    /// Its size in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The value at `at`.
    pub fn get(self, record: &[u8], at: usize, big: bool) -> f64 {
        fn turned<const N: usize>(record: &[u8], at: usize, big: bool) -> [u8; N] {
            let mut bytes = bytes_at(record, at);
            if big {
                bytes.reverse();
            }
            bytes
        }
        match self {
            Self::I8 => f64::from(i8::from_le_bytes(bytes_at(record, at))),
            Self::U8 => f64::from(u8::from_le_bytes(bytes_at(record, at))),
            Self::I16 => f64::from(i16::from_le_bytes(turned(record, at, big))),
            Self::U16 => f64::from(u16::from_le_bytes(turned(record, at, big))),
            Self::I32 => f64::from(i32::from_le_bytes(turned(record, at, big))),
            Self::U32 => f64::from(u32::from_le_bytes(turned(record, at, big))),
            Self::F32 => f64::from(f32::from_le_bytes(turned(record, at, big))),
            Self::F64 => f64::from_le_bytes(turned(record, at, big)),
        }
    }
}

/// A property of every row of an element.
#[derive(Clone, Debug)]
pub(super) struct Property {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub scalar: Scalar,
    /// The type of the number of them, where it is a list.
    pub list: Option<Scalar>,
}

/// Where a value stands in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Which property it is.
    pub index: usize,
    /// Bytes before it.
    pub at: usize,
    /// Its type.
    pub scalar: Scalar,
}

/// Rows of one kind.
#[derive(Clone, Debug)]
pub(super) struct Element {
    /// Its name: `"vertex"`.
    pub name: String,
    /// How many rows the header says that there are.
    pub rows: u64,
    /// What each holds.
    pub properties: Vec<Property>,
}

/// The harmonics of an element.
pub(super) struct Harmonics {
    /// Their degree in the file.
    pub stored: u32,
    /// The degree that is kept, at most [`SH_MAX`].
    pub degree: u32,
    /// Where the kept ones are, coefficient-major: red, green, blue adjacent.
    pub columns: Vec<Column>,
}

impl Element {
    /// The bytes of a row, unless lists make rows differ.
    pub fn stride(&self) -> Option<usize> {
        self.properties.iter().map(|p| p.list.is_none().then(|| p.scalar.size())).sum()
    }

    /// Where the property called `name` is, in an element without lists.
    pub fn column(&self, name: &str) -> Option<Column> {
        let index = self.properties.iter().position(|p| p.name == name)?;
        let at = self.properties[..index].iter().map(|p| p.scalar.size()).sum();
        Some(Column { index, at, scalar: self.properties[index].scalar })
    }

    /// The same for one that has to be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn needed(&self, name: &str) -> Result<Column> {
        self.column(name).ok_or_else(|| {
            Error::new(format!("property \"{name}\" of element \"{}\" is missing", self.name))
                .remedy("export it again as a .ply of 3D Gaussians")
        })
    }

    /// Its `f_rest_*`.
    ///
    /// # Errors
    /// When their number is that of no degree.
    pub fn harmonics(&self) -> Result<Harmonics> {
        let count = self.properties.iter().filter(|p| p.name.starts_with("f_rest_")).count();
        let stored = (0..32).find(|degree| rest_per_splat(*degree) == count).ok_or_else(|| {
            Error::new(format!("there are {count} f_rest_* properties, not 0, 9, 24 or 45"))
                .remedy("export it again with all harmonics, or with none")
        })?;
        let degree = stored.min(SH_MAX);
        let per_channel = count / 3;
        let names = (0..rest_per_splat(degree)).map(|i| format!("f_rest_{}", (i % 3) * per_channel + i / 3));
        let columns = names.map(|name| self.needed(&name)).collect::<Result<_>>()?;
        Ok(Harmonics { stored, degree, columns })
    }
}

/// What a file begins with.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// How rows are written.
    pub encoding: Encoding,
    /// Comments, without the word.
    pub comments: Vec<String>,
    /// Elements in the order of the file.
    pub elements: Vec<Element>,
    /// Its length in bytes: where the first row begins.
    pub bytes: u64,
}

impl Header {
    /// The header of a file.
    ///
    /// # Errors
    /// When it is cut short, damaged, or larger than [`MAX_HEADER`].
    pub fn read(source: &mut Source<'_>) -> Result<Self> {
        Self::parse(&source.head(MAX_HEADER)?)
    }

    fn parse(head: &[u8]) -> Result<Self> {
        let mut header = Self { encoding: Encoding::Ascii, comments: Vec::new(), elements: Vec::new(), bytes: 0 };
        let mut encoding = None;
        for (number, line) in head.split_inclusive(|b| *b == b'\n').enumerate() {
            header.bytes += line.len() as u64;
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if number == 0 {
                if line != "ply" {
                    return Err(Error::new("it does not begin with \"ply\"").remedy("choose a .ply file"));
                }
                continue;
            }
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            match word {
                "format" => encoding = Some(format(rest)?),
                "comment" => header.comments.push(rest.trim().to_string()),
                "obj_info" | "" => {}
                "element" => header.elements.push(element(rest, header.elements.len())?),
                "property" => {
                    let element = header.elements.last_mut().ok_or_else(|| wrong(line))?;
                    element.properties.push(property(rest, element)?);
                }
                "end_header" => {
                    let none = || Error::new("its header has no format line").remedy("export it again");
                    return Ok(Self { encoding: encoding.ok_or_else(none)?, ..header });
                }
                _ => return Err(wrong(line)),
            }
        }
        Err(if head.len() < MAX_HEADER {
            short()
        } else {
            Error::new("its header is larger than 64 KiB").remedy("export it again")
        })
    }

    /// The element called `name`, and which it is.
    pub fn element(&self, name: &str) -> Option<(usize, &Element)> {
        self.elements.iter().enumerate().find(|(_, element)| element.name == name)
    }

    /// What comments say of opacity that makes up for the blur of a pixel, as Brush (`SplatRenderMode: mip`) and Postshot
    /// (`antialiased 1`) write it; the last one holds.
    pub fn antialias(&self) -> Option<bool> {
        let said = |comment: &String| {
            let comment = comment.to_lowercase();
            if let Some(mode) = comment.strip_prefix("splatrendermode:") {
                return Some(mode.trim() == "mip");
            }
            comment.strip_prefix("antialiased ").map(|value| value.trim() == "1")
        };
        self.comments.iter().rev().find_map(said)
    }

    /// Goes to the first row of element `index` of a binary file, and returns where that is.
    ///
    /// # Errors
    /// When the file ends before it.
    pub fn seek(&self, source: &mut Source<'_>, index: usize) -> Result<u64> {
        let mut at = self.bytes;
        for element in &self.elements[..index] {
            at = match element.stride() {
                Some(stride) => element.rows.checked_mul(stride as u64).and_then(|n| at.checked_add(n)),
                None => Some(self.walk(source, element, at)?),
            }
            .filter(|at| *at <= source.bytes())
            .ok_or_else(short)?;
        }
        source.seek(at)?;
        Ok(at)
    }

    /// The end of an element with lists that begins at `at`. Every row of it takes a byte at least, so the file bounds the
    /// loop whatever the header says.
    fn walk(&self, source: &mut Source<'_>, element: &Element, mut at: u64) -> Result<u64> {
        source.seek(at)?;
        let bytes = source.bytes();
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => short(),
            _ => Error::new(error.to_string()),
        };
        let mut reader = BufReader::new(source.reader());
        for _ in 0..element.rows {
            for property in &element.properties {
                let size = property.scalar.size() as u64;
                let mut skip = size;
                if let Some(scalar) = property.list {
                    let mut count = [0; 8];
                    reader.read_exact(&mut count[..scalar.size()]).map_err(io)?;
                    let count = scalar.get(&count, 0, self.encoding == Encoding::Big);
                    at += scalar.size() as u64;
                    // At most 2³² · 8: it cannot overflow.
                    skip = count.max(0.0) as u64 * size;
                }
                at += skip;
                if at > bytes {
                    return Err(short());
                }
                reader.seek_relative(skip as i64).map_err(io)?;
            }
        }
        Ok(at)
    }
}

fn wrong(line: &str) -> Error {
    let line: String = line.chars().take(60).collect();
    Error::new(format!("its header has the line \"{line}\", which means nothing in a .ply")).remedy("export it again")
}

fn format(rest: &str) -> Result<Encoding> {
    match rest.split_whitespace().next() {
        Some("ascii") => Ok(Encoding::Ascii),
        Some("binary_little_endian") => Ok(Encoding::Little),
        Some("binary_big_endian") => Ok(Encoding::Big),
        _ => Err(wrong(&format!("format {rest}"))),
    }
}

fn element(rest: &str, others: usize) -> Result<Element> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let line = || wrong(&format!("element {rest}"));
    let &[name, rows] = words.as_slice() else { return Err(line()) };
    if others >= MAX_ELEMENTS {
        return Err(Error::new(format!("its header has more than {MAX_ELEMENTS} elements")).remedy("export it again"));
    }
    Ok(Element { name: name.to_string(), rows: rows.parse().map_err(|_| line())?, properties: Vec::new() })
}

fn property(rest: &str, element: &Element) -> Result<Property> {
    let line = || wrong(&format!("property {rest}"));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (list, scalar, name) = match *words.as_slice() {
        ["list", count, scalar, name] => {
            let count = Scalar::named(count).filter(|c| !matches!(c, Scalar::F32 | Scalar::F64));
            (Some(count.ok_or_else(line)?), scalar, name)
        }
        [scalar, name] => (None, scalar, name),
        _ => return Err(line()),
    };
    let name_of = &element.name;
    if element.properties.len() >= MAX_PROPERTIES {
        return Err(Error::new(format!("element \"{name_of}\" has more than {MAX_PROPERTIES} properties"))
            .remedy("export it again"));
    }
    if element.properties.iter().any(|p| p.name == name) {
        return Err(
            Error::new(format!("element \"{name_of}\" has property \"{name}\" twice")).remedy("export it again")
        );
    }
    Ok(Property { name: name.to_string(), scalar: Scalar::named(scalar).ok_or_else(line)?, list })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "ply\r\nformat binary_little_endian 1.0\ncomment  SplatRenderMode: Mip \nobj_info x\n\
        element vertex   3 \nproperty  float x\nproperty uint16 y\nproperty float64 z\nend_header\n";

    #[test]
    fn elements_and_properties_are_found() {
        let header = Header::parse(PLAIN.as_bytes()).unwrap();
        assert_eq!(
            (header.encoding, header.bytes, header.antialias()),
            (Encoding::Little, PLAIN.len() as u64, Some(true))
        );
        let (_, vertex) = header.element("vertex").unwrap();
        assert_eq!((vertex.rows, vertex.stride()), (3, Some(14)));
        let z = vertex.column("z").unwrap();
        assert_eq!((z.index, z.at, z.scalar), (2, 6, Scalar::F64));
        assert!(vertex.needed("w").is_err_and(|e| e.what.contains("\"w\"")));
    }

    #[test]
    fn comments_say_whether_opacity_makes_up_for_blur() {
        for (comments, want) in [
            ("comment made by hand\n", None),
            ("comment antialiased 1\n", Some(true)),
            ("comment antialiased 1\ncomment SplatRenderMode: default\n", Some(false)),
            ("comment SplatRenderMode: 2dgs\ncomment antialiased 1\n", Some(true)),
        ] {
            let text = format!("ply\nformat ascii 1.0\n{comments}end_header\n");
            assert_eq!(Header::parse(text.as_bytes()).unwrap().antialias(), want, "{comments}");
        }
    }

    #[test]
    fn damaged_headers_are_refused_by_what_is_wrong() {
        for (from, to, says) in [
            ("ply\r", "plx", "begin"),
            ("format binary_little_endian 1.0\n", "", "no format"),
            ("binary_little_endian", "binary", "binary"),
            ("vertex   3", "vertex -3", "-3"),
            ("vertex   3", "vertex 3 4", "3 4"),
            ("vertex   3", "vertex 100000000000000000000", "1000"),
            ("float x", "real x", "real"),
            ("uint16 y", "list float int y", "list"),
            ("uint16 y", "uint16 x", "twice"),
            ("element vertex   3 \n", "", "property"),
            ("obj_info", "nonsense", "nonsense"),
            ("end_header\n", "", "cut short"),
            ("end_header\n", "end_header", "cut short"),
        ] {
            let text = PLAIN.replacen(from, to, 1);
            assert_ne!(text, PLAIN, "{from}");
            let error = Header::parse(text.as_bytes()).expect_err(to);
            assert!(error.what.contains(says), "{error}");
        }
        let long = PLAIN.replace("obj_info", &format!("comment {}\nobj_info", "x".repeat(MAX_HEADER)));
        assert!(Header::parse(&long.as_bytes()[..MAX_HEADER]).is_err_and(|e| e.what.contains("64 KiB")));
        let many = PLAIN.replace("end_header", &"element e 0\n".repeat(70));
        assert!(Header::parse(many.as_bytes()).is_err_and(|e| e.what.contains("64 elements")));
        let wide = (0..1100).fold(String::new(), |text, i| text + &format!("property int p{i}\n"));
        let wide = PLAIN.replace("end_header", &wide);
        assert!(Header::parse(wide.as_bytes()).is_err_and(|e| e.what.contains("1024 properties")));
    }

    #[test]
    fn lists_are_walked_over() {
        let text = "ply\nformat binary_big_endian 1.0\nelement face 2\nproperty list uchar short v\nproperty int c\n\
            element vertex 1\nproperty uchar x\nend_header\n";
        let body = [2, 0, 1, 0, 2, 9, 9, 9, 9, 0, 8, 8, 8, 8, 77];
        let whole = [text.as_bytes(), &body].concat();
        let header = Header::parse(&whole).unwrap();
        let mut source = Source::memory(&whole);
        assert_eq!(header.seek(&mut source, 1).unwrap(), text.len() as u64 + 14);
        assert_eq!(source.exactly(1).unwrap(), [77]);
        let mut damaged = whole.clone();
        damaged[text.len()] = 200;
        assert!(header.seek(&mut Source::memory(&damaged), 1).is_err());
        let lying = text.replace("face 2", "face 999999999999999999");
        let whole = [lying.as_bytes(), &body].concat();
        let header = Header::parse(&whole).unwrap();
        assert!(header.seek(&mut Source::memory(&whole), 1).is_err());
    }
}
