//! A hash field as a snapshot that instant-ngp loads.
//!
//! Exact but for what instant-ngp does: it computes in half precision, and holds no log-density to a range. The latent goes
//! where the density network's outputs 2 to 16 are; where it is wider, or narrower, there are more outputs, or zeros. Hidden
//! layers are padded to one width.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use glam::{Mat3, Quat, Vec3};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::super::super::archive::Archive;
use super::super::super::splats::Sink;
use super::grid;
use super::nets::{ALIGNMENT, Padded, is_fused, padded_input};
use super::place::{CENTRE, MAX_AABB_SCALE, cycle};
use crate::error::{Error, Result};
use crate::field::{Pose, Scene};
use crate::kinds::hash::HashConfig;
use crate::ops::hash_encode::spec::{self as hash_encode, HashSpec};
use crate::parts::core::{ColourEncoding, SH_DIM};
use crate::parts::occupancy::Occupancy;
use crate::registry::FieldConfig;

/// Half precision ends here.
const LARGEST: f32 = 65_504.0;
/// Height of the photos that poses are written for; only its ratio to the focal length counts.
const HEIGHT: f32 = 800.0;

#[derive(Serialize)]
struct Root {
    dir_encoding: Value,
    encoding: Value,
    loss: Value,
    network: Value,
    optimizer: Value,
    rgb_network: Value,
    snapshot: Snapshot,
}

#[derive(Serialize)]
struct Snapshot {
    aabb: Value,
    density_grid_binary: Bytes,
    density_grid_size: usize,
    loss: f32,
    mode: &'static str,
    n_params: usize,
    nerf: Value,
    params_binary: Bytes,
    params_type: &'static str,
    render_aabb: Value,
    render_aabb_to_local: Value,
    training_step: u64,
    up_dir: [f32; 3],
    version: u32,
}

/// Bytes that are written as such, not as a list of numbers.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// Writes the parts of a hash field as an `.ingp`; gives what a person should know of it.
///
/// # Errors
/// When instant-ngp cannot hold it: another kind, an unbounded scene, a box that is no cube of 1, 2, 4, … 128 units,
/// another encoding of directions; or the place is full.
pub fn write(archive: &Archive, out: &mut dyn Sink) -> Result<Vec<String>> {
    let (root, notes) = root(archive)?;
    // Weights hardly compress; the density grid does in any case.
    let mut packed = GzEncoder::new(out, Compression::fast());
    encode(&root, &mut packed)?;
    let out = packed.finish().map_err(|e| Error::new(e.to_string()))?;
    out.flush().map_err(|e| Error::new(e.to_string()))?;
    Ok(notes)
}

/// Writes the parts of a hash field as a `.msgpack`, which is the same without compression.
///
/// # Errors
/// As [`write`].
pub fn write_plain(archive: &Archive, out: &mut dyn Sink) -> Result<Vec<String>> {
    let (root, notes) = root(archive)?;
    encode(&root, out)?;
    out.flush().map_err(|e| Error::new(e.to_string()))?;
    Ok(notes)
}

fn encode(root: &Root, out: &mut (impl Write + ?Sized)) -> Result<()> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    root.serialize(&mut serializer).map_err(|e| Error::new(format!("it cannot be written: {e}")))
}

/// The parts of a field that is to be written.
struct Parts<'a> {
    config: HashConfig,
    scene: Scene,
    hash: HashSpec,
    table: &'a [f32],
    sigma_net: &'a [f32],
    colour_net: &'a [f32],
}

impl<'a> Parts<'a> {
    fn of(archive: &'a Archive) -> Result<Self> {
        let document = |name: &str| archive.json.get(name).cloned().unwrap_or_default();
        let understood = |e: serde_json::Error| Error::new(format!("the field's description is not understood: {e}"));
        let config = match serde_json::from_value(document("config")).map_err(understood)? {
            FieldConfig::Hash(config) => config,
            other => {
                let what = format!("instant-ngp's files hold hash grids, and this is a field of kind {}", other.kind());
                return Err(Error::new(what).remedy("add --to hash, or let the name end in .safetensors"));
            }
        };
        let scene: Scene = serde_json::from_value(document("scene")).map_err(understood)?;
        if config.far_points {
            let what = "field.far_points: instant-ngp's dense grids end where this one has one more layer of points";
            return Err(Error::new(what).remedy("convert it: add --to hash"));
        }
        let hash = HashSpec::new(
            config.levels,
            config.features,
            config.log2_table_size,
            config.base_resolution,
            config.finest_resolution,
        )?;
        // What `per_level_scale` says is all that instant-ngp knows of the growth.
        let hash = match config.log2_growth {
            Some(log) => HashSpec::from_config(hash_encode::HashConfig {
                growth: f64::from(log).exp2() as f32,
                log2_growth: None,
                ..hash.config().clone()
            })?,
            None => hash,
        };
        let tensor = |name: &str| {
            let found = archive.tensors.iter().find(|(n, ..)| n == name).map(|(.., values)| values.as_slice());
            found.ok_or_else(|| Error::new(format!("tensor \"{name}\" is missing")))
        };
        let (table, sigma_net, colour_net) = (tensor("table")?, tensor("sigma_net")?, tensor("colour_net")?);
        let parts = Self { config, scene, hash, table, sigma_net, colour_net };
        parts.check()?;
        Ok(parts)
    }

    /// Refuses what instant-ngp cannot hold.
    fn check(&self) -> Result<()> {
        let refused = |what: String, remedy: &str| Err(Error::new(what).remedy(remedy));
        if self.scene.unbounded {
            let what = "the scene is unbounded, and instant-ngp has no contraction of space";
            return refused(what.into(), "convert a bounded scene");
        }
        if self.config.volume.colour_encoding != ColourEncoding::Sh {
            let what = "field.volume.colour_encoding: instant-ngp's colour network sees harmonics";
            return refused(what.into(), "convert it to a hash field with colour_encoding = \"sh\"");
        }
        let size = self.scene.bounds.size();
        let edge = size.x.round();
        let cube = (size - Vec3::splat(edge)).abs().max_element() <= 1e-5 * edge;
        if !cube || !(1.0..=MAX_AABB_SCALE as f32).contains(&edge) || !(edge as u32).is_power_of_two() {
            let what =
                format!("scene.bounds: its box measures {size}, and instant-ngp's are cubes of 1, 2, 4, … 128 units");
            return refused(what, "convert it within the usual box of [-1, 1]³");
        }
        let latent = self.config.volume.latent;
        let hidden = self.config.sigma_hidden.iter().chain(&self.config.volume.colour_hidden);
        if latent == 0 || hidden.into_iter().any(|width| *width == 0) {
            return refused("field.volume.latent or a hidden width is 0".into(), "the field is damaged");
        }
        let wanted = [
            ("table", self.table, self.hash.param_count()),
            ("sigma_net", self.sigma_net, count(self.hash.out_dim(), &self.config.sigma_hidden, 1 + latent)),
            ("colour_net", self.colour_net, count(latent + SH_DIM, &self.config.volume.colour_hidden, 3)),
        ];
        for (name, values, count) in wanted {
            if values.len() != count {
                let what = format!("tensor \"{name}\" has {} values, not {count}", values.len());
                return refused(what, "the field is damaged");
            }
            if let Some(at) = values.iter().position(|v| !(v.abs() <= LARGEST)) {
                let what = format!(
                    "tensor \"{name}\" holds {} at {at}, and instant-ngp computes in half precision",
                    values[at]
                );
                return refused(what, "its largest number is 65504");
            }
        }
        Ok(())
    }

    fn aabb_scale(&self) -> u32 {
        self.scene.bounds.size().x.round() as u32
    }

    /// Both networks, padded.
    fn nets(&self) -> [Padded; 2] {
        let (latent, inputs) = (self.config.volume.latent, self.hash.out_dim());
        let (sigma_hidden, colour_hidden) = (&self.config.sigma_hidden, &self.config.volume.colour_hidden);
        // A field that was read from a snapshot has the density as the first of its latent.
        let width = *sigma_hidden.last().unwrap_or(&inputs);
        let (rest, last) = self.sigma_net.split_at(self.sigma_net.len() - (1 + latent) * width);
        let twice = latent.is_multiple_of(ALIGNMENT) && last[..width] == last[width..2 * width];
        let (sigma_net, outputs, shift) =
            if twice { ([rest, &last[width..]].concat(), latent, 0) } else { (self.sigma_net.to_vec(), 1 + latent, 1) };
        let output = outputs.next_multiple_of(ALIGNMENT);
        let input = padded_input(inputs, is_fused(sigma_hidden));
        let sigma = Padded::new(&sigma_net, [inputs, outputs], sigma_hidden, [input, output], |i| i);
        // The latent behind the density, and the harmonics behind all outputs.
        let place = |i: usize| if i < latent { i + shift } else { output + i - latent };
        let colour =
            Padded::new(self.colour_net, [latent + SH_DIM, 3], colour_hidden, [output + SH_DIM, ALIGNMENT], place);
        [sigma, colour]
    }
}

/// Number of weights of a plain network.
fn count(input: usize, hidden: &[usize], output: usize) -> usize {
    let widths: Vec<usize> = [input].into_iter().chain(hidden.iter().copied()).chain([output]).collect();
    widths.windows(2).map(|pair| pair[0] * pair[1]).sum()
}

fn root(archive: &Archive) -> Result<(Root, Vec<String>)> {
    let parts = Parts::of(archive)?;
    let [low, high] = parts.config.volume.log_sigma_range;
    let mut notes = vec!["instant-ngp computes in half precision, so that pictures differ a little".to_string()];
    if low > super::LOG_SIGMA_RANGE[0] || high < super::LOG_SIGMA_RANGE[1] {
        notes.push(format!("here log-densities are held to {low} to {high}, which instant-ngp does not do"));
    }
    let aabb_scale = parts.aabb_scale();
    let bounds = parts.scene.bounds;
    let occupied = match archive.bytes.iter().find(|(name, _)| name == "extra.occupancy") {
        Some((_, bytes)) => Occupancy::from_bytes(bytes, bounds)?,
        None => Occupancy::new_full(parts.config.volume.occupancy_resolution, bounds),
    };
    let [sigma, colour] = parts.nets();
    let values: [&[u8]; 3] = [&sigma.params, &colour.params, parts.table].map(bytemuck::cast_slice);
    let params = values.concat();
    let n_params = params.len() / 4;
    if u32::try_from(params.len()).is_err() {
        return Err(Error::new("its parameters take more than the 4 GB that a snapshot can hold")
            .remedy("convert it to a smaller grid"));
    }
    let half = Vec3::splat(0.5 * aabb_scale as f32);
    let extent = json!({"min": CENTRE - half, "max": CENTRE + half});
    let frame = frame(&parts.scene, &mut notes);
    let steps = archive.json.pointer("/provenance/steps").and_then(Value::as_u64).unwrap_or(0);
    let snapshot = Snapshot {
        aabb: extent.clone(),
        density_grid_binary: Bytes(grid::density_grid(&occupied, grid::cascades(aabb_scale))),
        density_grid_size: grid::SIZE,
        loss: 0.0,
        mode: "nerf",
        n_params,
        nerf: nerf(&parts.scene, aabb_scale, &frame),
        params_binary: Bytes(params),
        params_type: "float",
        render_aabb: extent,
        render_aabb_to_local: json!(Mat3::IDENTITY.to_cols_array_2d()),
        training_step: steps,
        up_dir: frame.up.to_array(),
        version: 1,
    };
    Ok((configured(&parts, &sigma, &colour, snapshot), notes))
}

/// The networks as a configuration, with the optimiser that instant-ngp would go on with.
fn configured(parts: &Parts<'_>, sigma: &Padded, colour: &Padded, snapshot: Snapshot) -> Root {
    let hash = parts.hash.config();
    let network = |padded: &Padded, outputs: usize| {
        json!({
            "otype": padded.otype(),
            "activation": "ReLU",
            "output_activation": "None",
            "n_neurons": padded.net.width,
            "n_hidden_layers": padded.net.hidden,
            "n_output_dims": outputs,
        })
    };
    let adam = json!({
        "otype": "Adam", "learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-15, "l2_reg": 1e-6,
    });
    Root {
        dir_encoding: json!({
            "otype": "Composite",
            "nested": [
                {"n_dims_to_encode": 3, "otype": "SphericalHarmonics", "degree": 4},
                {"otype": "Identity"},
            ],
        }),
        encoding: json!({
            "otype": "HashGrid",
            "n_levels": hash.levels,
            "n_features_per_level": hash.features,
            "log2_hashmap_size": hash.log2_table_size,
            "base_resolution": hash.base_resolution,
            "per_level_scale": hash.growth,
        }),
        loss: json!({"otype": "Huber"}),
        network: network(sigma, sigma.net.output),
        optimizer: json!({
            "otype": "Ema",
            "decay": 0.95,
            "nested": {
                "otype": "ExponentialDecay",
                "decay_start": 20000,
                "decay_interval": 10000,
                "decay_base": 0.33,
                "nested": adam,
            },
        }),
        rgb_network: network(colour, 3),
        snapshot,
    }
}

/// How the file has the photos' coordinates.
struct Frame {
    scale: f32,
    offset: Vec3,
    mitsuba: bool,
    up: Vec3,
}

/// `x_ngp = cycle(scale · x + offset)`, without the cycle for Mitsuba's scenes: two turns are possible, and a hash grid cannot
/// be turned. Where a scene has another, the photos' coordinates of the file are turned ones.
fn frame(scene: &Scene, notes: &mut Vec<String>) -> Frame {
    let own = scene.scene_from_dataset;
    let shift = own.translation - scene.bounds.centre() + CENTRE;
    let is = |turn: Quat| own.rotation.dot(turn).abs() > 1.0 - 1e-6;
    if is(Quat::IDENTITY) {
        let axes = "+X left, +Y up, +Z forward";
        notes.push(format!("cameras that it is given from elsewhere are taken as Mitsuba's ({axes})"));
        return Frame { scale: own.scale, offset: shift, mitsuba: true, up: Vec3::Z };
    }
    let offset = Vec3::new(shift.z, shift.x, shift.y);
    let cycled = is(cycle());
    if !cycled {
        notes.push("its axes are those of the scene here, not of the photos".into());
    }
    Frame { scale: own.scale, offset, mitsuba: false, up: if cycled { Vec3::Y } else { Vec3::Z } }
}

fn nerf(scene: &Scene, aabb_scale: u32, frame: &Frame) -> Value {
    let centre = scene.bounds.centre();
    let xform = |pose: &Pose| {
        let axes = Mat3::from_quat(pose.rotation);
        let position = pose.position - centre + CENTRE;
        // There cameras look along +Z with +Y down.
        let rows: [[f32; 4]; 3] =
            std::array::from_fn(|r| [axes.x_axis[r], -axes.y_axis[r], -axes.z_axis[r], position[r]]);
        json!({"start": rows, "end": rows})
    };
    let lens = |pose: &Pose| {
        let width = (HEIGHT * pose.aspect).round().max(1.0);
        let focal = 0.5 * HEIGHT / (0.5 * pose.fov_y).tan();
        json!({
            "resolution": [width as u32, HEIGHT as u32],
            // Pixels need not be square: so the aspect is kept as it is.
            "focal_length": [focal * width / (HEIGHT * pose.aspect), focal],
            "principal_point": [0.5, 0.5],
            "rolling_shutter": [0.0, 0.0, 0.0, 0.0],
        })
    };
    let empty = json!({"min": Vec3::MAX, "max": Vec3::MIN});
    json!({
        "aabb_scale": aabb_scale,
        "rgb": {"rays_per_batch": 4096, "measured_batch_size": 0, "measured_batch_size_before_compaction": 0},
        "dataset": {
            "n_images": scene.cameras.len(),
            "paths": vec![""; scene.cameras.len()],
            "metadata": scene.cameras.iter().map(lens).collect::<Vec<_>>(),
            "xforms": scene.cameras.iter().map(xform).collect::<Vec<_>>(),
            "render_aabb": empty,
            "render_aabb_to_local": Mat3::IDENTITY.to_cols_array_2d(),
            "up": frame.up,
            "offset": frame.offset,
            "scale": frame.scale,
            "aabb_scale": aabb_scale,
            "envmap_resolution": [0, 0],
            "from_mitsuba": frame.mitsuba,
            "is_hdr": false,
            "wants_importance_sampling": true,
            "n_extra_learnable_dims": 0,
        },
    })
}
