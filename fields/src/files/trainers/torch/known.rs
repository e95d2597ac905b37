//! The few functions and types that a checkpoint may name, and what they make. They are rebuilt here from their documented
//! arguments; whatever else a file names is refused before it is looked at.

use super::value::{Dtype, Id, Known, Node, Storage, TensorRef, Tree, shown};
use crate::error::{Error, Result};

/// What is named `module.name`.
///
/// # Errors
/// When it is not on the list.
pub(super) fn named(module: &str, name: &str) -> Result<Known> {
    let known = match (module, name) {
        ("collections", "OrderedDict") => Some(Known::OrderedDict),
        ("torch", "Size") => Some(Known::Size),
        ("torch._utils", "_rebuild_tensor") => Some(Known::TensorV1),
        ("torch._utils", "_rebuild_tensor_v2") => Some(Known::TensorV2),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Known::Parameter),
        ("_codecs", "encode") => Some(Known::Encode),
        ("numpy", "ndarray") => Some(Known::NumpyArray),
        ("numpy", "dtype") => Some(Known::NumpyDtype),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Some(Known::NumpyReconstruct),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Some(Known::NumpyScalar),
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(Known::NumpyFromBuffer),
        ("torch" | "torch.cuda" | "torch.storage", name) => storage(name).map(Known::Storage),
        _ => None,
    };
    known.ok_or_else(|| refused(module, name))
}

/// The error of a file that names what is not on the list.
pub(super) fn refused(module: &str, name: &str) -> Error {
    Error::new(format!("it asks for {}.{}, which is code and not a tensor", shown(module), shown(name)))
        .remedy("nothing of it was run; save the model's state_dict alone, with plain numbers and tensors")
}

fn storage(name: &str) -> Option<Dtype> {
    Some(match name.strip_suffix("Storage")? {
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::Bf16,
        "Float" => Dtype::F32,
        "Double" => Dtype::F64,
        "Bool" => Dtype::Bool,
        "Byte" | "Untyped" => Dtype::Unsigned(1),
        "Char" => Dtype::Signed(1),
        "Short" => Dtype::Signed(2),
        "Int" => Dtype::Signed(4),
        "Long" => Dtype::Signed(8),
        _ => return None,
    })
}

fn damaged(what: impl Into<String>) -> Error {
    Error::new(what).remedy("the file is damaged: copy or download it again")
}

/// The storage that a persistent id names: `("storage", type, key, place, elements)`, in old files with a view.
///
/// # Errors
/// When it is none.
pub(super) fn persistent(tree: &mut Tree, id: Id) -> Result<Node> {
    let parts = tree.items(id).unwrap_or_default();
    let (&[kind, of, key, _, elements], view) = (match parts {
        [first @ .., view] if parts.len() == 6 => (first, Some(*view)),
        _ => (parts, None),
    }) else {
        return Err(damaged("it refers to something that is no storage"));
    };
    if view.is_some_and(|view| !matches!(tree.node(view), Node::None)) {
        return Err(Error::new("its storages are views of each other, as before torch 0.4")
            .remedy("load it with a newer torch and save it again"));
    }
    tree.spend(tree.str(key).map_or(0, str::len))?;
    let storage = match (tree.str(kind), tree.node(of), tree.str(key), tree.int(elements)) {
        (Some("storage"), Node::Known(Known::Storage(dtype)), Some(key), Some(n)) => usize::try_from(n)
            .map(|elements| Storage { key: key.to_string(), dtype: *dtype, elements })
            .map_err(|_| damaged(format!("a storage of {n} values")))?,
        _ => return Err(damaged("it refers to something that is no storage")),
    };
    tree.storages.push(storage);
    Ok(Node::Storage(tree.storages.len() - 1))
}

/// What `callee(*args)` makes.
///
/// # Errors
/// When that is not one of the few things, or the arguments are not those that are documented.
pub(super) fn called(tree: &mut Tree, callee: Id, args: Id) -> Result<Node> {
    let Node::Known(known) = *tree.node(callee) else { return Err(damaged("it calls something that is no function")) };
    let Node::Tuple(args) = tree.node(args) else { return Err(damaged("a call without arguments")) };
    // No known call has more.
    let args: Vec<Id> = args.iter().copied().take(8).collect();
    tree.spend(args.iter().map(|id| tree.weight(*id)).sum())?;
    let wrong = || damaged(format!("{known:?} of {} arguments that are not those that are known", args.len()));
    match known {
        Known::OrderedDict => ordered(tree, &args).ok_or_else(wrong),
        Known::Size => {
            let items = args.first().and_then(|id| tree.items(*id)).ok_or_else(wrong)?;
            Ok(Node::Tuple(items.to_vec()))
        }
        Known::TensorV1 | Known::TensorV2 => tensor(tree, &args).unwrap_or_else(|| Err(wrong())),
        Known::Parameter => match args.first().map(|id| tree.node(*id)) {
            Some(Node::Tensor(tensor)) => Ok(Node::Tensor(tensor.clone())),
            _ => Err(wrong()),
        },
        Known::Encode => encoded(tree, &args).ok_or_else(wrong),
        Known::NumpyDtype => {
            let name = args.first().and_then(|id| tree.str(*id)).ok_or_else(wrong)?;
            let dtype = numpy_dtype(name);
            let what = format!("an array of numpy whose values are \"{}\"", shown(name));
            dtype
                .map(|d| Node::Dtype(d, false))
                .ok_or_else(|| Error::new(what).remedy("save plain numbers and tensors"))
        }
        Known::NumpyReconstruct => match args.first().map(|id| tree.node(*id)) {
            Some(Node::Known(Known::NumpyArray)) => Ok(Node::Array(None)),
            _ => Err(wrong()),
        },
        Known::NumpyFromBuffer => match *args {
            [values, dtype, shape, order] => array(tree, shape, dtype, values, tree.str(order) != Some("C")),
            _ => Err(wrong()),
        },
        Known::NumpyScalar => scalar(tree, &args).ok_or_else(wrong),
        Known::Storage(_) | Known::NumpyArray => Err(wrong()),
    }
}

fn ordered(tree: &Tree, args: &[Id]) -> Option<Node> {
    let pair = |id: &Id| match tree.items(*id)? {
        [key, value] => Some((*key, *value)),
        _ => None,
    };
    match args {
        [] => Some(Node::Dict(Vec::new())),
        [pairs] => tree.items(*pairs)?.iter().map(pair).collect::<Option<_>>().map(Node::Dict),
        _ => None,
    }
}

/// `(storage, first, shape, strides, …)`; what follows is about gradients.
fn tensor(tree: &Tree, args: &[Id]) -> Option<Result<Node>> {
    let [storage, first, shape, stride, ..] = args else { return None };
    let Node::Storage(at) = *tree.node(*storage) else { return None };
    let Storage { dtype, elements, .. } = tree.storages.get(at)?;
    let (shape, stride) = (tree.ints(*shape)?, tree.ints(*stride)?);
    let tensor = TensorRef::new((at, *dtype, *elements), tree.int(*first)?, &shape, &stride);
    Some(tensor.map(|tensor| Node::Tensor(Box::new(tensor))))
}

/// Bytes, which protocol 2 writes as the text that Latin-1 makes of them.
fn encoded(tree: &Tree, args: &[Id]) -> Option<Node> {
    let [text, by] = args else { return None };
    if !matches!(tree.str(*by)?, "latin1" | "latin-1") {
        return None;
    }
    tree.str(*text)?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<_>>().map(Node::Bytes)
}

fn numpy_dtype(name: &str) -> Option<Dtype> {
    Some(match name.trim_start_matches(['<', '|', '=']) {
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "b1" | "?" => Dtype::Bool,
        "u1" => Dtype::Unsigned(1),
        "u2" => Dtype::Unsigned(2),
        "u4" => Dtype::Unsigned(4),
        "u8" => Dtype::Unsigned(8),
        "i1" => Dtype::Signed(1),
        "i2" => Dtype::Signed(2),
        "i4" => Dtype::Signed(4),
        "i8" => Dtype::Signed(8),
        _ => return None,
    })
}

fn scalar(tree: &Tree, args: &[Id]) -> Option<Node> {
    let [dtype, bytes] = args else { return None };
    let (Node::Dtype(dtype, false), Node::Bytes(bytes)) = (tree.node(*dtype), tree.node(*bytes)) else { return None };
    (bytes.len() == dtype.size()).then(|| match dtype {
        Dtype::Bool => Node::Bool(bytes[0] != 0),
        Dtype::Unsigned(_) | Dtype::Signed(_) => Node::Int(dtype.whole(bytes)),
        _ => Node::Float(dtype.value(bytes)),
    })
}

/// Gives an object the state that it was saved with.
///
/// # Errors
/// When it is not one of the few that have any.
pub(super) fn set_state(tree: &mut Tree, object: Id, state: Id) -> Result<()> {
    let node = match tree.node(object) {
        // Attributes of a dictionary, such as the versions of a state_dict's modules.
        Node::Dict(_) => return Ok(()),
        Node::Dtype(dtype, _) => {
            let order = tree.items(state).and_then(|parts| tree.str(*parts.get(1)?));
            Node::Dtype(*dtype, order == Some(">") && dtype.size() > 1)
        }
        Node::Array(None) => array_of_state(tree, state)?,
        _ => {
            return Err(damaged("it sets the inner state of something that has none"));
        }
    };
    *tree.node_mut(object) = node;
    Ok(())
}

/// `(version, shape, type, whether columns come first, values)`.
fn array_of_state(tree: &mut Tree, state: Id) -> Result<Node> {
    let Some(&[_, shape, dtype, columns_first, values]) = tree.items(state) else { return Err(no_array()) };
    tree.spend(tree.weight(shape))?;
    array(tree, shape, dtype, values, tree.int(columns_first) != Some(0))
}

fn no_array() -> Error {
    damaged("an array of numpy whose parts are not what is known")
}

fn array(tree: &Tree, shape: Id, dtype: Id, values: Id, columns_first: bool) -> Result<Node> {
    let shape = tree.ints(shape).ok_or_else(no_array)?;
    let shape: Option<Vec<usize>> = shape.iter().map(|n| usize::try_from(*n).ok()).collect();
    let (Some(shape), Node::Dtype(dtype, swapped), Node::Bytes(bytes)) = (shape, tree.node(dtype), tree.node(values))
    else {
        return Err(no_array());
    };
    let size = shape.iter().try_fold(dtype.size(), |n, length| n.checked_mul(*length));
    if size != Some(bytes.len()) {
        return Err(damaged(format!("an array of numpy whose shape does not fit its {} bytes", bytes.len())));
    }
    if *swapped || (columns_first && shape.len() > 1) {
        return Err(Error::new("an array of numpy whose bytes or columns are the other way around")
            .remedy("save it again from an ordinary machine, as a plain array"));
    }
    Ok(Node::Array(Some(Box::new((*dtype, shape, values)))))
}
