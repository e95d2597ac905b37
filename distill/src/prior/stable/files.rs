//! The weights of one part of a diffusers folder: one safetensors file or several with an index, in float16, bfloat16 or
//! float32. Headers are read first and checked against the files' sizes; then one tensor after another, so no more of a
//! file is in memory than one tensor beside what was kept.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use retort_fields::device::has_halves;
use retort_fields::error::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use crate::prior::layers::{Layers, Shape, floats, half, kept};

/// The longest header that is read.
const LONGEST_HEADER: u64 = 100 << 20;

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Place {
    file: PathBuf,
    dtype: Dtype,
    shape: Vec<usize>,
    at: u64,
    bytes: u64,
}

/// The tensors of one part.
#[derive(Debug)]
pub struct Weights {
    folder: PathBuf,
    places: HashMap<String, Place>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// What the weights of a part may be called, the preferred first. Half the bytes come first: they are what is published.
const NAMES: [&str; 4] = [
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors",
    "model.fp16.safetensors",
    "model.safetensors",
];

impl Weights {
    /// The weights of a folder, such as `unet/`.
    ///
    /// # Errors
    /// When there are none, only pickles, or a file is damaged; the error names it.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut places = HashMap::new();
        if let Some(path) = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
            read_header(&path, &mut places)?;
            return Ok(Self { folder: folder.to_path_buf(), places });
        }
        // `X.safetensors.index.json`, or `X.safetensors.index.fp16.json`.
        let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, &e))?;
        let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        if let Some(name) = names.iter().find(|n| n.contains(".safetensors.index.") && ends(n, &["json"])) {
            let path = folder.join(name);
            let index: Index = super::config::read_up_to(&path, 64 << 20)?;
            let mut files: Vec<&String> = index.weight_map.values().collect();
            files.sort();
            files.dedup();
            for file in files {
                if file.contains(['/', '\\']) {
                    return Err(Error::new(format!("names a file outside its folder: {file}")).file(&path));
                }
                read_header(&folder.join(file), &mut places)?;
            }
            return Ok(Self { folder: folder.to_path_buf(), places });
        }
        let pickled = names.iter().find(|n| ends(n, &["bin", "pt", "ckpt"]));
        Err(match pickled {
            Some(name) => Error::new(format!("only {name} is there, a pickle, which may run code when it is read"))
                .file(folder)
                .remedy("save the model as safetensors first"),
            None => Error::new("no weights are there").file(folder).remedy(format!("it should hold {}", NAMES[1])),
        })
    }

    /// One file of tensors by itself, such as adapters.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn file(path: &Path) -> Result<Self> {
        let mut places = HashMap::new();
        read_header(path, &mut places)?;
        Ok(Self { folder: path.to_path_buf(), places })
    }

    /// Names of all tensors, with their shapes.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.places.iter().map(|(name, place)| (name.as_str(), place.shape.as_slice()))
    }

    /// The values of the tensor of this name, and its shape.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let place = self.places.get(name).ok_or_else(|| self.lacks(name))?;
        Ok((place.values().map_err(|e| e.file(&place.file))?, place.shape.clone()))
    }

    fn lacks(&self, name: &str) -> Error {
        Error::new(format!("there is no tensor {name}"))
            .file(&self.folder)
            .remedy("take the folder of one model, whole")
    }

    /// The layers of these names and shapes; `aliases` says under what other names a tensor may be found, `table` which
    /// are looked up and not multiplied. On a GPU that multiplies float16 they are kept so.
    ///
    /// # Errors
    /// When a tensor is missing, or of another shape or kind, or not finite; the error names file and tensor.
    pub fn layers(
        &self,
        shapes: &[Shape],
        aliases: impl Fn(&str) -> Vec<String>,
        table: impl Fn(&str) -> bool,
        device: &Device,
    ) -> Result<Layers> {
        let (mut weights, halves) = (BTreeMap::new(), has_halves(device));
        for (name, shape) in shapes {
            let place = std::iter::once(name.clone()).chain(aliases(name)).find_map(|name| self.places.get(&name));
            let place = place.ok_or_else(|| self.lacks(name))?;
            if !alike(&place.shape, shape) {
                let what = format!("{name} is {:?}, config.json makes it {shape:?}", place.shape);
                return Err(Error::new(what).file(&place.file).remedy("take the folder of one model, whole"));
            }
            let values = place.values().map_err(|e| e.file(&place.file))?;
            let whole = kept(&(name.clone(), shape.clone()), values, table(name), device);
            let whole = whole.map_err(|e| e.file(&place.file))?;
            weights.insert(name.clone(), if halves && !table(name) { half(whole) } else { whole });
        }
        Ok(Layers::new(weights))
    }
}

/// Whether a file's name has one of these endings.
fn ends(name: &str, endings: &[&str]) -> bool {
    let ending = Path::new(name).extension();
    ending.is_some_and(|e| endings.iter().any(|ending| e.eq_ignore_ascii_case(ending)))
}

/// A linear map may be kept as a 1 × 1 convolution, and the other way round.
fn alike(found: &[usize], wanted: &[usize]) -> bool {
    let plain = |shape: &[usize]| match *shape {
        [o, i, 1, 1] => vec![o, i],
        _ => shape.to_vec(),
    };
    plain(found) == plain(wanted)
}

impl Place {
    fn values(&self) -> Result<Vec<f32>> {
        let mut file = File::open(&self.file).map_err(|e| Error::io(&self.file, &e))?;
        file.seek(SeekFrom::Start(self.at)).map_err(|e| Error::io(&self.file, &e))?;
        let mut bytes = vec![0; self.bytes as usize];
        file.read_exact(&mut bytes).map_err(|e| Error::io(&self.file, &e))?;
        floats(self.dtype, &bytes)
    }
}

/// Adds the tensors of a file to `places`.
fn read_header(path: &Path, places: &mut HashMap<String, Place>) -> Result<()> {
    let damaged = |what: String| Error::new(what).file(path).remedy("fetch the file again");
    let mut file = File::open(path).map_err(|e| Error::io(path, &e))?;
    let size = file.metadata().map_err(|e| Error::io(path, &e))?.len();
    let mut first = [0; 8];
    file.read_exact(&mut first).map_err(|_| damaged("not a safetensors file: it is too short".into()))?;
    let header = u64::from_le_bytes(first);
    if header > LONGEST_HEADER || header + 8 > size {
        return Err(damaged(format!("not a safetensors file: a header of {header} bytes in a file of {size}")));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text).map_err(|e| Error::io(path, &e))?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|e| damaged(format!("not a safetensors file: {e}")))?;
    for (name, info) in metadata.tensors() {
        let (low, high) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let elements = info.shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d as u64));
        let expected = elements.and_then(|n| n.checked_mul(info.dtype.bitsize() as u64 / 8));
        if high < low || expected != Some(high - low) || header + 8 + high > size {
            return Err(damaged(format!("{name} lies beyond the file's end, or has another size than its shape")));
        }
        let place = Place {
            file: path.to_path_buf(),
            dtype: info.dtype,
            shape: info.shape.clone(),
            at: header + 8 + low,
            bytes: high - low,
        };
        places.insert(name.clone(), place);
    }
    Ok(())
}
