//! Numbers of a glTF buffer through its accessors (glTF 2.0, section 3.6.2): any component type, normalised or not, strided,
//! with sparse replacements. Everything is checked against the bytes that are there before memory is taken.

use super::document::{Accessor, Document, Sparse, SparsePart, View, entry};
use crate::error::{Error, Result};

/// The most elements of an accessor without bytes of its own, which are zeros until sparse values replace some.
const MAX_ZEROS: u64 = 1 << 20;

/// The buffers of a document, as they were found.
pub(super) struct Buffers<'a> {
    pub document: &'a Document,
    /// Each one's bytes, at least as many as it declares.
    pub bytes: Vec<std::borrow::Cow<'a, [u8]>>,
}

/// A component type (5120 to 5126).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Component {
    I8,
    U8,
    I16,
    U16,
    U32,
    F32,
}

impl Component {
    fn new(code: u32) -> Result<Self> {
        Ok(match code {
            5120 => Self::I8,
            5121 => Self::U8,
            5122 => Self::I16,
            5123 => Self::U16,
            5125 => Self::U32,
            5126 => Self::F32,
            other => return Err(damaged(format!("component type {other} is not one of glTF's"))),
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::U32 | Self::F32 => 4,
        }
    }

    /// The value of as many bytes as it has.
    fn float(self, b: &[u8], normalised: bool) -> f32 {
        let (value, unit) = match (self, b) {
            (Self::I8, &[a]) => (f32::from(a as i8), 127.0),
            (Self::U8, &[a]) => (f32::from(a), 255.0),
            (Self::I16, &[a, b]) => (f32::from(i16::from_le_bytes([a, b])), 32767.0),
            (Self::U16, &[a, b]) => (f32::from(u16::from_le_bytes([a, b])), 65535.0),
            (Self::U32, &[a, b, c, d]) => (u32::from_le_bytes([a, b, c, d]) as f32, u32::MAX as f32),
            (Self::F32, &[a, b, c, d]) => (f32::from_le_bytes([a, b, c, d]), 1.0),
            _ => (f32::NAN, 1.0),
        };
        if normalised { (value / unit).max(-1.0) } else { value }
    }

    fn index(self, b: &[u8]) -> Option<u32> {
        match (self, b) {
            (Self::U8, &[a]) => Some(u32::from(a)),
            (Self::U16, &[a, b]) => Some(u32::from(u16::from_le_bytes([a, b]))),
            (Self::U32, &[a, b, c, d]) => Some(u32::from_le_bytes([a, b, c, d])),
            _ => None,
        }
    }
}

fn damaged(what: impl Into<String>) -> Error {
    Error::new(what).remedy("the file is damaged: copy or export it again")
}

impl Buffers<'_> {
    /// How many elements an accessor has.
    ///
    /// # Errors
    /// When there is no such accessor.
    pub(super) fn count(&self, accessor: usize) -> Result<u64> {
        Ok(entry(&self.document.accessors, accessor, "accessor")?.count)
    }

    /// Elements of 2, 3 or 4 components as their first `N`, `[n, N]`.
    ///
    /// # Errors
    /// When it is not there, has fewer components, reaches past its bytes, or a value is not finite.
    pub(super) fn floats<const N: usize>(&self, at: usize, what: &str) -> Result<Vec<[f32; N]>> {
        let accessor = entry(&self.document.accessors, at, "accessor")?;
        let width = match accessor.kind.as_str() {
            "VEC2" => 2,
            "VEC3" => 3,
            "VEC4" => 4,
            other => return Err(damaged(format!("{what}: accessor {at} holds {other}, not vectors"))),
        };
        if width < N {
            return Err(damaged(format!(
                "{what}: accessor {at} holds {}, and {N} components are needed",
                accessor.kind
            )));
        }
        let component = Component::new(accessor.component_type)?;
        // A 32-bit count is never a normalised one, and a float is one already.
        let normalised = accessor.normalized && component.bytes() < 4;
        let size = component.bytes();
        let read = |b: &[u8]| std::array::from_fn(|c| component.float(&b[c * size..][..size], normalised));
        let values = self.elements(accessor, width * size, &read, [0.0; N])?;
        if let Some(k) = values.iter().position(|v: &[f32; N]| v.iter().any(|v| !v.is_finite())) {
            return Err(damaged(format!("{what} {k} of accessor {at} is not a number")));
        }
        Ok(values)
    }

    /// Indices, `[n]`.
    ///
    /// # Errors
    /// When it is not there, does not hold indices, or reaches past its bytes.
    pub(super) fn indices(&self, at: usize) -> Result<Vec<u32>> {
        let accessor = entry(&self.document.accessors, at, "accessor")?;
        let component = Component::new(accessor.component_type)?;
        if accessor.kind != "SCALAR" || !matches!(component, Component::U8 | Component::U16 | Component::U32) {
            return Err(damaged(format!("accessor {at} does not hold indices")));
        }
        self.elements(accessor, component.bytes(), &|b| component.index(b).unwrap_or(u32::MAX), 0)
    }

    /// All bytes of a view.
    ///
    /// # Errors
    /// When it is not there or reaches past its buffer.
    pub(super) fn view(&self, at: usize) -> Result<(&View, &[u8])> {
        let view = entry(&self.document.buffer_views, at, "buffer view")?;
        if let Some(name) = view.extensions.keys().find(|name| name.contains("meshopt")) {
            return Err(compressed(name));
        }
        let buffer = self.bytes.get(view.buffer).ok_or_else(|| damaged(format!("buffer view {at} has no buffer")))?;
        let bytes = part(buffer, view.byte_offset, view.byte_length)
            .ok_or_else(|| damaged(format!("buffer view {at} reaches past its buffer")))?;
        Ok((view, bytes))
    }

    fn elements<T: Copy>(
        &self,
        accessor: &Accessor,
        size: usize,
        read: &dyn Fn(&[u8]) -> T,
        zero: T,
    ) -> Result<Vec<T>> {
        let mut values = match (accessor.buffer_view, &accessor.sparse) {
            (Some(view), _) => self.strided(view, accessor.byte_offset, accessor.count, size, read)?,
            (None, Some(_)) if accessor.count <= MAX_ZEROS => vec![zero; accessor.count as usize],
            (None, Some(_)) => {
                return Err(damaged("an accessor without a buffer view has more than a million elements"));
            }
            (None, None) => {
                return Err(damaged("an accessor has no buffer view").remedy("export it without compression"));
            }
        };
        if let Some(sparse) = &accessor.sparse {
            self.replace(&mut values, sparse, size, read)?;
        }
        Ok(values)
    }

    fn replace<T: Copy>(
        &self,
        values: &mut [T],
        sparse: &Sparse,
        size: usize,
        read: &dyn Fn(&[u8]) -> T,
    ) -> Result<()> {
        let SparsePart { buffer_view, byte_offset, component_type } = sparse.indices;
        let component = Component::new(component_type)?;
        let index = |b: &[u8]| component.index(b).unwrap_or(u32::MAX);
        let places = self.strided(buffer_view, byte_offset, sparse.count, component.bytes(), &index)?;
        let SparsePart { buffer_view, byte_offset, .. } = sparse.values;
        let replacements = self.strided(buffer_view, byte_offset, sparse.count, size, read)?;
        for (place, value) in places.into_iter().zip(replacements) {
            let slot = values.get_mut(place as usize);
            *slot.ok_or_else(|| damaged("a sparse accessor replaces an element that it does not have"))? = value;
        }
        Ok(())
    }

    fn strided<T>(
        &self,
        view: usize,
        offset: u64,
        count: u64,
        size: usize,
        read: &dyn Fn(&[u8]) -> T,
    ) -> Result<Vec<T>> {
        let (about, bytes) = self.view(view)?;
        let stride = about.byte_stride.unwrap_or(size as u64);
        if stride < size as u64 {
            return Err(damaged(format!("buffer view {view} has a stride of {stride} bytes for elements of {size}")));
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let length = (count - 1).checked_mul(stride).and_then(|l| l.checked_add(size as u64));
        let bytes = length
            .and_then(|length| part(bytes, offset, length))
            .ok_or_else(|| damaged(format!("{count} elements of {size} bytes reach past buffer view {view}")))?;
        Ok(bytes.chunks(stride as usize).map(|b| read(&b[..size])).collect())
    }
}

/// The refusal of a compressed mesh.
pub(super) fn compressed(extension: &str) -> Error {
    Error::new(format!("its geometry is compressed by {extension}, which is not read"))
        .remedy("export it without mesh compression, or decompress it (gltf-transform copy)")
}

fn part(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}
