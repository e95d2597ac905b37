//! What the shaders show is what the tensors say: every kind at seeded points, and whole pictures.
//!
//! The shaders run on whatever Vulkan driver there is, Mesa's lavapipe where it is the only one.

use std::sync::{Arc, OnceLock};

use retort_distill::preset::Preset;
use retort_fields::field::{Field, RenderOptions, tensor, values};
use retort_fields::metrics;
use retort_fields::parts::occupancy::Occupancy;
use retort_fields::registry::{AnyField, Kind};
use retort_fields::rng::Rng;
use retort_render::viewport::{Look, Mode};
use retort_render::volume::Probe;
use retort_render::{Error, Gpu, Viewport};
use retort_shaders::snapshot::{Snapshot, VolumeSnapshot, Words};
use retort_tests::{camera, cpu, stirred, tiny_preset, tiny_scene};

const POINTS: usize = 4096;
/// Colours and log-densities may differ by this: single precision and the driver's own sines and exponentials.
const NEAR: f32 = 2e-3;
/// Pictures may differ by rounding to half floats and by samples at the edges of cells, dB.
const LIKE: f64 = 45.0;

/// The device of these tests; one for all, as drivers do not like many.
fn gpu() -> Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Gpu::headless().expect("a Vulkan driver, which tests/run installs")).clone()
}

fn volumes() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Gaussians)
}

fn volume_of(field: &dyn Field) -> Arc<VolumeSnapshot> {
    match field.snapshot() {
        Some(Snapshot::Volume(volume)) => volume,
        other => panic!("a volume, not {other:?}"),
    }
}

/// Points all over the box of the scene and a little beyond, and directions.
fn places(field: &dyn Field, n: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(4, "places");
    let bounds = field.scene().bounds;
    let mut point = || [0, 1, 2].map(|a| bounds.centre()[a] + 0.52 * bounds.size()[a] * rng.range(-1.0, 1.0));
    let points: Vec<f32> = (0..n).flat_map(|_| point()).collect();
    let mut rng = Rng::new(4, "directions");
    let mut direction =
        || glam::Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or(glam::Vec3::X).to_array();
    (points, (0..n).flat_map(|_| direction()).collect())
}

/// What the tensors say: colour and log-density, `[n, 4]`.
fn said(field: &dyn Field, points: &[f32], directions: &[f32]) -> Vec<f32> {
    let volume = field.as_volume().expect("a volume");
    let n = points.len() / 3;
    let found = volume.block1(tensor(points.to_vec(), [n, 3], &cpu()));
    let rgb = values(volume.block2(found.latent, tensor(directions.to_vec(), [n, 3], &cpu())));
    let rows = rgb.as_chunks::<3>().0.iter().zip(values(found.log_sigma));
    rows.flat_map(|(&[r, g, b], s)| [r, g, b, s]).collect()
}

/// What its shader says, `[n, 4]`.
fn asked(field: &AnyField, points: &[f32], directions: &[f32]) -> Vec<f32> {
    let snapshot = volume_of(&**field);
    let probe = Probe::new(&gpu(), &snapshot).expect("the shader compiles");
    probe.ask(&gpu(), &snapshot, points, directions).expect("the shader runs")
}

fn most_off(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max)
}

#[test]
fn samplers_say_what_the_tensors_say() {
    for kind in volumes() {
        for unbounded in [false, true] {
            let field = stirred(kind, &tiny_scene(unbounded), 3);
            let (points, directions) = places(&*field, POINTS);
            let (snapshot, wanted) = (volume_of(&*field), said(&*field, &points, &directions));
            let probe = Probe::new(&gpu(), &snapshot).expect("the shader compiles");
            let seen = probe.ask(&gpu(), &snapshot, &points, &directions).expect("the shader runs");
            let off = most_off(&seen, &wanted);
            assert!(off < NEAR, "{kind}, unbounded {unbounded}: {off:e}");
            // The negative control: one value in a thousand of each buffer is off.
            for which in 0..snapshot.field.buffers.len() + snapshot.field.nets.len() {
                let Some(wrong) = spoiled(&snapshot, which) else { continue };
                let seen = probe.ask(&gpu(), &wrong, &points, &directions).expect("the shader runs");
                assert!(most_off(&seen, &wanted) > 2.0 * NEAR, "{kind}: buffer {which} is not read");
            }
        }
    }
}

/// The same with some values of a buffer or of a network off; `None` for buffers of bits.
fn spoiled(snapshot: &VolumeSnapshot, which: usize) -> Option<VolumeSnapshot> {
    let mut snapshot = snapshot.clone();
    let buffers = snapshot.field.buffers.len();
    let values = match snapshot.field.buffers.get_mut(which) {
        Some(Words::U32(_)) => return None,
        Some(Words::F32(values)) => values,
        None => &mut snapshot.field.nets[which - buffers].2,
    };
    let last = values.len();
    (0..last).step_by(97).for_each(|i| values[i] += 0.5);
    Some(snapshot)
}

/// The densities of the published presets are other ones than those of the fast presets.
#[test]
fn other_activations_are_twins_too() {
    let cases: [(Kind, &[(&str, &str)]); 3] = [
        (Kind::Voxels, &[("field.density", "linear"), ("field.colour", "sigmoid"), ("field.initial_sigma", "2.0")]),
        (Kind::Vm, &[("field.density", "softplus"), ("field.density_shift", "-2.0"), ("field.density_scale", "25.0")]),
        (
            Kind::Cp,
            &[("field.volume.colour_encoding", "fourier"), ("field.bounds", "[[-0.8, -0.7, -0.9], [0.6, 0.9, 0.7]]")],
        ),
    ];
    for (kind, more) in cases {
        let mut field = tiny_preset(kind, more).field.init(&tiny_scene(false), 5, &cpu()).expect("sound values");
        let mut rng = Rng::new(5, "stirring");
        for param in field.params_mut() {
            let [rows, columns] = param.tensor.dims();
            let noise = (0..rows * columns).map(|_| 0.2 * rng.normal()).collect();
            *param.tensor = param.tensor.clone() + tensor(noise, [rows, columns], &cpu());
        }
        let (points, directions) = places(&*field, POINTS);
        let seen = asked(&field, &points, &directions);
        let off = most_off(&seen, &said(&*field, &points, &directions));
        assert!(off < NEAR, "{kind}: {off:e}");
    }
}

/// A field with holes, so that rays skip, and surfaces, so that they end.
fn carved(kind: Kind, unbounded: bool) -> AnyField {
    let mut field = stirred(kind, &tiny_scene(unbounded), 8);
    if let Some(volume) = field.as_volume_mut() {
        let mut grid = Occupancy::new_full(16, volume.scene().bounds);
        let old = grid.clone();
        grid.exclude_cells(|cell| {
            let p = old.cell_centre(cell) / if unbounded { 2.0 } else { 1.0 };
            (6.0 * p.x).sin() + (5.0 * p.y).cos() + (7.0 * p.z).sin() < 0.3
        });
        volume.set_occupancy(Arc::new(grid));
    }
    field
}

/// The field's pictures of these views, from the viewport.
fn drawn<const N: usize>(field: &dyn Field, views: [usize; N]) -> [Vec<f32>; N] {
    let mut viewport = Viewport::new(&gpu(), wgpu_format()).expect("shaders compile");
    viewport.set(&field.snapshot().expect("every kind has one")).expect("it is small");
    views.map(|index| {
        viewport.draw(&camera(48, index));
        viewport.pixels().expect("the device works").expect("it was drawn")
    })
}

fn wgpu_format() -> retort_render::TextureFormat {
    retort_render::TextureFormat::Rgba8Unorm
}

fn likeness(a: &[f32], b: &[f32]) -> f64 {
    let rgb = |pixels: &[f32]| -> Vec<f32> { pixels.chunks_exact(5).flat_map(|p| [p[0], p[1], p[2], p[3]]).collect() };
    metrics::psnr(&rgb(a), &rgb(b)).expect("two pictures of one size")
}

#[test]
fn pictures_are_those_of_the_tensors() {
    for &kind in Kind::ALL {
        for unbounded in [false, true] {
            let field = carved(kind, unbounded);
            let [seen, other] = drawn(&*field, [1, 2]);
            let wanted = values(field.render(&camera(48, 1), &RenderOptions::default()).pixels);
            let like = likeness(&seen, &wanted);
            assert!(like > LIKE, "{kind}, unbounded {unbounded}: {like:.1} dB");
            let mean = |pixels: &[f32], c: usize| pixels.iter().skip(c).step_by(5).sum::<f32>() / (48.0 * 48.0);
            assert!(mean(&wanted, 3) > 0.02, "{kind}: there must be something to see");
            let (depth, depth_wanted) = (mean(&seen, 4), mean(&wanted, 4));
            // The depths of Gaussians are half floats that are rounded at every one that is laid over them.
            let near = if kind == Kind::Gaussians { 1e-2 } else { 1e-3 };
            assert!((depth - depth_wanted).abs() < near * depth_wanted, "{kind}: {depth} {depth_wanted}");
            // The negative control: another view.
            assert!(likeness(&other, &wanted) < LIKE - 10.0, "{kind}: another view looks the same");
        }
    }
}

#[test]
fn a_newer_snapshot_is_what_is_drawn() {
    let mut viewport = Viewport::new(&gpu(), wgpu_format()).expect("shaders compile");
    let view = camera(32, 0);
    assert!(viewport.pixels().expect("nothing to read").is_none(), "nothing was drawn yet");
    for kind in [Kind::Hash, Kind::Gaussians, Kind::Hash, Kind::Voxels] {
        for seed in [1, 2] {
            let field = stirred(kind, &tiny_scene(false), seed);
            viewport.set(&field.snapshot().expect("every kind has one")).expect("it is small");
            viewport.draw(&view);
            let wanted = values(field.render(&view, &RenderOptions::default()).pixels);
            let seen = viewport.pixels().expect("the device works").expect("it was drawn");
            assert!(likeness(&seen, &wanted) > LIKE, "{kind}, seed {seed}");
            assert!(viewport.bytes() > 0);
        }
    }
}

#[test]
fn modes_show_different_things() {
    let mut viewport = Viewport::new(&gpu(), wgpu_format()).expect("shaders compile");
    let field = carved(Kind::Hash, false);
    viewport.set(&field.snapshot().expect("every kind has one")).expect("it is small");
    viewport.draw(&camera(48, 1));
    let background = [0.2, 0.4, 0.6];
    let looks = [Mode::Colour, Mode::Depth, Mode::Opacity, Mode::Normals].map(|mode| {
        viewport.screenshot([48, 48], &Look { mode, background, ..Look::default() }).expect("the device works")
    });
    for (i, a) in looks.iter().enumerate() {
        assert_eq!(a.len(), 48 * 48 * 4);
        assert!(looks[..i].iter().all(|b| a != b), "two modes show the same");
        assert!(a.as_chunks::<4>().0.iter().any(|p| p != &a[..4]), "one colour everywhere");
    }
    let frame = field.render(&camera(48, 1), &RenderOptions::default()).rgb_over(background);
    let colour = looks[0].as_chunks::<4>().0.iter().flat_map(|p| [p[0], p[1], p[2]]).map(|v| f32::from(v) / 255.0);
    let like = metrics::psnr(&colour.collect::<Vec<_>>(), &frame).expect("one size");
    assert!(like > 42.0, "{like:.1} dB");
}

/// The ranks and activations of the published presets. Networks are as small as elsewhere here: Mesa's software driver
/// compiles one of 64 for a minute.
#[test]
fn published_shapes_compile() {
    for kind in [Kind::Voxels, Kind::Vm, Kind::Cp] {
        let shrunk: &[(&str, &str)] = match kind {
            Kind::Voxels => &[("field.resolution", "16")],
            _ => &[("field.resolution", "[16, 16, 16]"), ("field.volume.colour_hidden", "[16]")],
        };
        let sets = retort_tests::sets(shrunk);
        let preset = Preset::load("paper", kind, &sets).expect("there is one");
        let field = preset.field.init(&tiny_scene(false), 0, &cpu()).expect("it is small enough");
        let (points, directions) = places(&*field, 64);
        let seen = asked(&field, &points, &directions);
        let off = most_off(&seen, &said(&*field, &points, &directions));
        assert!(off < NEAR, "{kind}: {off:e}");
    }
}

#[test]
fn what_does_not_fit_the_device_is_an_error_and_the_view_keeps_what_it_had() {
    let mut viewport = Viewport::new(&gpu(), wgpu_format()).expect("shaders compile");
    let field = stirred(Kind::Hash, &tiny_scene(false), 1);
    viewport.set(&field.snapshot().expect("every kind has one")).expect("it is small");
    let most = gpu().device.limits().max_storage_buffer_binding_size;
    if most > 1 << 31 {
        // No test takes gigabytes; the refusal is the same comparison.
        assert!(matches!(gpu().empty_storage("test", most + 1), Err(Error::TooLarge { .. })));
        return;
    }
    let mut large = VolumeSnapshot::clone(&volume_of(&*field));
    large.field.buffers[1] = Words::F32(vec![0.0; most as usize / 4 + 4]);
    let error = viewport.set(&Snapshot::Volume(Arc::new(large))).expect_err("it cannot be bound");
    assert!(error.to_string().contains("convert it to a smaller one"), "{error}");
    viewport.draw(&camera(32, 0));
    let wanted = values(field.render(&camera(32, 0), &RenderOptions::default()).pixels);
    assert!(likeness(&viewport.pixels().expect("it works").expect("drawn"), &wanted) > LIKE);
}

#[test]
fn a_shader_that_does_not_compile_is_an_error_with_its_name() {
    let mut snapshot = VolumeSnapshot::clone(&volume_of(&*stirred(Kind::Hash, &tiny_scene(false), 1)));
    snapshot.field.constants.retain(|(name, _)| *name != "LEVELS");
    let error = Probe::new(&gpu(), &snapshot).expect_err("LEVELS is missing");
    assert!(matches!(&error, Error::Shader { name, .. } if name == "fields/hash"), "{error}");
    snapshot.field.file = "fields/none";
    assert!(matches!(Probe::new(&gpu(), &snapshot), Err(Error::Import(_))));
}
