//! What a checkpoint holds, as a flat list of nodes that name each other by number.
//!
//! Flat, because a pickle may share one list a million times, hold itself, or be nested a million deep: none of that costs
//! more than its own bytes here, and nothing recurses.

use crate::error::{Error, Result};

/// A node's number.
pub(super) type Id = u32;

/// The most nodes: about 300 MB of them.
const MOST_NODES: usize = 4 << 20;
/// The most axes of a tensor.
const MOST_AXES: usize = 8;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// A truth value, one byte.
    Bool,
    /// A whole number without sign, of so many bytes: 1, 2, 4 or 8.
    Unsigned(u8),
    /// A whole number with sign, of so many bytes.
    Signed(u8),
}

impl Dtype {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Bool => 1,
            Self::Unsigned(n) | Self::Signed(n) => n as usize,
        }
    }

    /// Whether elements are fractions.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// The element in [`Dtype::size`] bytes, little endian; exact for all but whole numbers beyond 2⁵³.
    pub fn value(self, bytes: &[u8]) -> f64 {
        let word = |n: u8| bytes.iter().take(n as usize).rev().fold(0_u64, |word, b| word << 8 | u64::from(*b));
        match self {
            Self::F16 => half::f16::from_bits(word(2) as u16).to_f64(),
            Self::Bf16 => half::bf16::from_bits(word(2) as u16).to_f64(),
            Self::F32 => f64::from(f32::from_bits(word(4) as u32)),
            Self::F64 => f64::from_bits(word(8)),
            Self::Bool => f64::from(u8::from(word(1) != 0)),
            Self::Unsigned(n) => word(n) as f64,
            Self::Signed(_) => self.whole(bytes) as f64,
        }
    }

    /// The element of a whole-number type; 0 for others.
    pub fn whole(self, bytes: &[u8]) -> i64 {
        let word = |n: u8| bytes.iter().take(n as usize).rev().fold(0_u64, |word, b| word << 8 | u64::from(*b));
        match self {
            Self::Bool => i64::from(word(1) != 0),
            Self::Unsigned(n) => word(n) as i64,
            Self::Signed(n) => {
                let spare = 64 - 8 * u32::from(n.clamp(1, 8));
                (word(n) << spare) as i64 >> spare
            }
            _ => 0,
        }
    }
}

/// A text of the file as a message may show it: at most a line of it, and nothing that a terminal would obey.
pub fn shown(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Numbers of the file as a message may show them: the first of them.
pub fn first_of(numbers: &[i64]) -> String {
    let shown: Vec<String> = numbers.iter().take(20).map(i64::to_string).collect();
    format!("[{}{}]", shown.join(", "), if numbers.len() > 20 { ", …" } else { "" })
}

/// A tensor: where its elements lie. None has been read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its lengths along the axes, the slowest first.
    pub shape: Vec<usize>,
    /// Elements between neighbours along each axis.
    pub(super) stride: Vec<usize>,
    /// The first element, counted in the storage.
    pub(super) first: usize,
    /// Which of the storages.
    pub(super) storage: usize,
    /// Elements between the first and the last, both counted: what is read.
    pub(super) span: usize,
}

impl TensorRef {
    /// A tensor within a storage of `elements`.
    ///
    /// # Errors
    /// When it reaches beyond the storage, or has more elements than that.
    pub(super) fn new(
        (storage, dtype, elements): (usize, Dtype, usize),
        first: i64,
        shape: &[i64],
        stride: &[i64],
    ) -> Result<Self> {
        let lies = || {
            let (shape, stride) = (first_of(shape), first_of(stride));
            let what = format!("a tensor of shape {shape} and strides {stride} in a storage of {elements} values");
            Error::new(what).remedy("the file is damaged: copy or download it again")
        };
        if shape.len() != stride.len() || shape.len() > MOST_AXES {
            return Err(lies());
        }
        let whole = |values: &[i64]| values.iter().map(|v| usize::try_from(*v).ok()).collect::<Option<Vec<_>>>();
        let (shape_, stride_, first) =
            (whole(shape).ok_or_else(lies)?, whole(stride).ok_or_else(lies)?, usize::try_from(first).ok());
        let first = first.ok_or_else(lies)?;
        let count = shape_.iter().try_fold(1_usize, |n, length| n.checked_mul(*length)).ok_or_else(lies)?;
        let last = shape_
            .iter()
            .zip(&stride_)
            .try_fold(0_usize, |at, (length, step)| at.checked_add(length.saturating_sub(1).checked_mul(*step)?));
        let span = if count == 0 { 0 } else { last.and_then(|l| l.checked_add(1)).ok_or_else(lies)? };
        // Strides of 0 would make much of little.
        if count > elements || first.checked_add(span).is_none_or(|end| end > elements) {
            return Err(lies());
        }
        Ok(Self { dtype, shape: shape_, stride: stride_, first, storage, span })
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether its elements follow each other.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut step = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(length, stride)| {
            let fits = *length == 1 || *stride == step;
            step *= length.max(&1);
            fits
        })
    }

    /// The places of its elements in the span, in row-major order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let mut at = vec![0_usize; self.shape.len()];
        let mut place = 0;
        (0..self.count()).map(move |_| {
            let here = place;
            for axis in (0..at.len()).rev() {
                at[axis] += 1;
                place += self.stride[axis];
                if at[axis] < self.shape[axis] {
                    break;
                }
                place -= at[axis] * self.stride[axis];
                at[axis] = 0;
            }
            here
        })
    }
}

/// A storage: a run of values that tensors share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// Its name in the file.
    pub key: String,
    /// The type of its values.
    pub dtype: Dtype,
    /// How many it says it has.
    pub elements: usize,
}

/// An array of numpy, its values within the pickle.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    /// The type of its values.
    pub dtype: Dtype,
    /// The values, row-major, little endian.
    pub bytes: &'a [u8],
}

/// What is known by name; nothing else can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    OrderedDict,
    Size,
    TensorV1,
    TensorV2,
    Parameter,
    Storage(Dtype),
    Encode,
    NumpyArray,
    NumpyDtype,
    NumpyReconstruct,
    NumpyFromBuffer,
    NumpyScalar,
}

/// A value, or what is needed while values are made.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Tensor(Box<TensorRef>),
    /// An array whose values are the bytes of another node; `None` until its state has come.
    Array(Option<Box<(Dtype, Vec<usize>, Id)>>),
    Known(Known),
    Storage(usize),
    /// A numpy type; `true` where its bytes are the wrong way around.
    Dtype(Dtype, bool),
}

/// All nodes of a pickle.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub storages: Vec<Storage>,
    /// What calls may still copy of their arguments.
    budget: usize,
}

impl Tree {
    /// An empty tree for a pickle of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { nodes: Vec::new(), storages: Vec::new(), budget: bytes.saturating_mul(8).saturating_add(1 << 16) }
    }

    /// Notes that a call copies `n` things. One text or list may be the argument of a million calls, so that copies alone
    /// could outgrow any multiple of the file.
    ///
    /// # Errors
    /// When there were too many.
    pub fn spend(&mut self, n: usize) -> Result<()> {
        let left = self.budget.checked_sub(n.saturating_add(1));
        self.budget = left.ok_or_else(|| {
            Error::new("its pickle copies the same values over and over")
                .remedy("it was made to exhaust memory: discard it")
        })?;
        Ok(())
    }

    /// Takes in a node.
    ///
    /// # Errors
    /// When there are too many.
    pub fn add(&mut self, node: Node) -> Result<Id> {
        if self.nodes.len() >= MOST_NODES {
            let what = format!("it holds more than {MOST_NODES} values beside its tensors");
            return Err(Error::new(what).remedy("save it without the optimiser's and the run's records"));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    pub fn node(&self, id: Id) -> &Node {
        // Ids are given out by `add` alone.
        &self.nodes[id as usize]
    }

    pub fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// How much a copy of a node copies.
    pub fn weight(&self, id: Id) -> usize {
        match self.node(id) {
            Node::Str(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            Node::List(items) | Node::Tuple(items) => items.len(),
            Node::Dict(pairs) => pairs.len(),
            Node::Tensor(_) => 16,
            _ => 1,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(v) => Some(*v),
            Node::Bool(v) => Some(i64::from(*v)),
            _ => None,
        }
    }

    pub fn str(&self, id: Id) -> Option<&str> {
        if let Node::Str(text) = self.node(id) { Some(text) } else { None }
    }

    /// The members of a list or a tuple.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Whole numbers in a list or a tuple.
    pub fn ints(&self, id: Id) -> Option<Vec<i64>> {
        self.items(id)?.iter().map(|item| self.int(*item)).collect()
    }
}

/// A value of a checkpoint.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pub(super) tree: &'a Tree,
    pub(super) id: Id,
}

impl<'a> Value<'a> {
    fn at(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// The value under a name, where this is a dictionary that has one.
    pub fn get(self, name: &str) -> Option<Self> {
        let Node::Dict(pairs) = self.tree.node(self.id) else { return None };
        // Of several the last one counts, as in Python.
        let found = pairs.iter().rev().find(|(key, _)| self.tree.str(*key) == Some(name));
        found.map(|(_, value)| self.at(*value))
    }

    /// The named values of a dictionary, in its order; none where this is another thing.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Self)> {
        let pairs: &[(Id, Id)] = if let Node::Dict(pairs) = self.tree.node(self.id) { pairs } else { &[] };
        pairs.iter().filter_map(move |(key, value)| Some((self.tree.str(*key)?, self.at(*value))))
    }

    /// The members of a list or a tuple; none where this is another thing.
    pub fn items(self) -> impl Iterator<Item = Self> {
        self.tree.items(self.id).unwrap_or_default().iter().map(move |id| self.at(*id))
    }

    /// A number.
    pub fn number(self) -> Option<f64> {
        match self.tree.node(self.id) {
            Node::Float(v) => Some(*v),
            _ => self.tree.int(self.id).map(|v| v as f64),
        }
    }

    /// A whole number that is not negative.
    pub fn count(self) -> Option<usize> {
        usize::try_from(self.tree.int(self.id)?).ok()
    }

    /// A text.
    pub fn text(self) -> Option<&'a str> {
        self.tree.str(self.id)
    }

    /// Numbers in a list or a tuple.
    pub fn numbers(self) -> Option<Vec<f64>> {
        self.tree.items(self.id)?;
        self.items().map(Self::number).collect()
    }

    /// A tensor.
    pub fn tensor(self) -> Option<&'a TensorRef> {
        if let Node::Tensor(tensor) = self.tree.node(self.id) { Some(tensor) } else { None }
    }

    /// An array of numpy.
    pub fn array(self) -> Option<Array<'a>> {
        let Node::Array(Some(array)) = self.tree.node(self.id) else { return None };
        let (dtype, _, bytes) = &**array;
        if let Node::Bytes(bytes) = self.tree.node(*bytes) { Some(Array { dtype: *dtype, bytes }) } else { None }
    }

    /// Whether it is Python's `None`.
    pub fn is_none(self) -> bool {
        matches!(self.tree.node(self.id), Node::None)
    }
}
