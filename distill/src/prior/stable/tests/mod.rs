//! Against diffusers, transformers and `MVDream`'s own code: tiny models with weights by formula, and what those made of
//! them (`tests/golden/stable/make.py`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use retort_fields::field::values;
use serde::Deserialize;

use super::files::Weights;
use crate::prior::layers::pictures;

mod folder;
mod networks;
mod whole;

/// Shares of the largest value that an answer may be off by in float32.
const CLOSE: f32 = 1e-4;
/// And in float16, which cannot be nearer than the first of these.
const NEAR: Range<f32> = 1e-5..2e-2;

/// Evenly spaced values of a tensor.
#[derive(Debug, Deserialize)]
struct Some_ {
    shape: Vec<usize>,
    values: Vec<f32>,
}

type Shapes = BTreeMap<String, Vec<usize>>;

macro_rules! golden {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!("../../../../../tests/golden/stable/", $name)))
            .expect("a golden file")
    };
}
use golden;

/// The recipe's `numbers`: even from −1 to 1.
fn numbers(name: &str, n: usize) -> Vec<f64> {
    let key = fingerprint(name.bytes());
    let finish = |i: usize| {
        let z = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(key);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..n).map(finish).collect()
}

/// FNV-1a.
fn fingerprint(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

fn floats(name: &str, n: usize, scale: f64) -> Vec<f32> {
    numbers(name, n).iter().map(|v| (scale * v) as f32).collect()
}

fn tensor4(name: &str, shape: [usize; 4]) -> Tensor<4> {
    let all = floats(name, shape.iter().product(), 1.0);
    Tensor::from_data(TensorData::new(all, shape), &Device::flex())
}

fn tensor2(name: &str, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(floats(name, shape[0] * shape[1], 1.0), shape), &Device::flex())
}

/// The recipe's `weight`.
fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let n = shape.iter().product();
    if shape.len() == 1 {
        let around = f64::from(u8::from(name.ends_with("weight")));
        return numbers(name, n).iter().map(|v| (0.1 * v + around) as f32).collect();
    }
    let fan: usize = shape[1..].iter().product();
    floats(name, n, (3.0 / fan as f64).sqrt())
}

/// Writes a safetensors file.
fn write(path: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| t.2.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.expect("sized"))
    });
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, safetensors::serialize(views, None).expect("a file")).expect("written");
}

/// Writes weights by formula for these shapes.
fn write_by_formula(path: &Path, shapes: &Shapes) {
    let all = shapes.iter().map(|(name, shape)| (name.clone(), shape.clone(), weight(name, shape)));
    write(path, &all.collect::<Vec<_>>());
}

/// Weights by formula, read from a file like any others.
fn by_formula(shapes: &Shapes) -> Weights {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    write_by_formula(&path, shapes);
    let weights = Weights::file(&path).expect("weights");
    // The file is read tensor by tensor, later: it must stay.
    std::mem::forget(folder);
    weights
}

/// The largest difference, as a share of the largest expected value.
fn error<const D: usize>(actual: &Tensor<D>, expected: &Some_) -> f32 {
    assert_eq!(actual.dims().as_slice(), expected.shape, "shape");
    let all = values(actual.clone());
    let step = (all.len() / 120).max(1);
    let scale = expected.values.iter().fold(1e-12_f32, |m, e| m.max(e.abs()));
    let chosen: Vec<f32> = all.iter().step_by(step).copied().collect();
    assert_eq!(chosen.len(), expected.values.len());
    chosen.iter().zip(&expected.values).fold(0.0_f32, |m, (a, e)| m.max((a - e).abs())) / scale
}

fn close<const D: usize>(what: &str, actual: &Tensor<D>, expected: &Some_) {
    within(0.0..CLOSE, what, actual, expected);
}

/// Off by as much as `share` says.
fn within<const D: usize>(share: Range<f32>, what: &str, actual: &Tensor<D>, expected: &Some_) {
    let off = error(actual, expected);
    println!("{what}: off by {off:.1e}");
    assert!(share.contains(&off), "{what} is off by {off}");
}

/// A block's answer as the recipe has it.
fn block(x: &Tensor<2>, views: usize) -> Tensor<4> {
    let rows = x.dims()[0];
    pictures(x.clone(), ((rows / views) as f32).sqrt().round() as usize)
}
