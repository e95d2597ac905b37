//! Scenes of several objects: what they show, what edits take away, and what a student makes of them.

use std::path::Path;
use std::slice;

use glam::{Mat3A, Quat, Vec3};
use retort_distill::RunOptions;
use retort_distill::convert::Convert;
use retort_distill::task::Task;
use retort_distill::train::Train;
use retort_fields::compose::region::{Corners, How, Outline, Region, Shape, Sphere, Stroke};
use retort_fields::compose::{Composition, Edit, Object, Subject, floaters, merge};
use retort_fields::data::Similarity;
use retort_fields::field::{Field, RenderOptions, Volume, tensor, values};
use retort_fields::registry::{AnyField, Kind};
use retort_fields::rng::Rng;
use retort_shaders::Camera;
use retort_tests::{
    advance, assert_same_field, camera, cpu, is_finite, psnr, stirred, tiny_dataset, tiny_preset, tiny_scene,
};

fn field(kind: Kind) -> AnyField {
    stirred(kind, &tiny_scene(false), 3)
}

fn with(field: &AnyField, transform: Similarity, edits: &[Edit]) -> Object {
    Object { field: field.clone(), transform, edits: edits.to_vec() }
}

fn whole(objects: Vec<Object>) -> Composition {
    Composition::new(objects).expect("objects that go together")
}

/// `[h·w·5]`
fn picture(field: &dyn Field, view: &Camera) -> Vec<f32> {
    values(field.render(view, &RenderOptions::default()).pixels)
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Over white.
fn psnr_over(a: &dyn Field, b: &dyn Field, view: &Camera) -> f32 {
    let drawn = |field: &dyn Field| field.render(view, &RenderOptions::default()).rgb_over([1.0; 3]);
    psnr(&drawn(a), &drawn(b))
}

/// Colours and alphas alone `[h·w·4]`: distances are other ones in a scaled scene.
fn colours(field: &dyn Field, view: &Camera) -> Vec<f32> {
    picture(field, view).chunks_exact(5).flat_map(|p| p[..4].to_vec()).collect()
}

const TURNED: Similarity =
    Similarity { scale: 0.5, rotation: Quat::from_xyzw(0.36, 0.48, 0.0, 0.8), translation: Vec3::new(0.2, -0.1, 0.15) };

/// The same view after everything is moved.
fn moved(view: &Camera, by: &Similarity) -> Camera {
    let mut view = view.clone();
    let pose = &mut view.world_from_camera;
    pose.translation = by.point(pose.translation.into()).into();
    pose.matrix3 = Mat3A::from_quat(by.rotation) * pose.matrix3;
    view
}

fn points(n: usize, reach: f32, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, "points");
    (0..3 * n).map(|_| rng.range(-reach, reach)).collect()
}

fn log_sigma(volume: &dyn Volume, x: &[f32]) -> Vec<f32> {
    values(volume.log_sigma(tensor(x.to_vec(), [x.len() / 3, 3], &cpu())))
}

fn rgb(volume: &dyn Volume, x: &[f32], d: Vec3) -> Vec<f32> {
    let n = x.len() / 3;
    let latent = volume.block1(tensor(x.to_vec(), [n, 3], &cpu())).latent;
    values(volume.block2(latent, tensor(d.to_array().repeat(n), [n, 3], &cpu())))
}

#[test]
fn an_object_that_stays_as_it_is_shows_its_field() {
    let view = camera(24, 2);
    let shift = Similarity { translation: Vec3::new(0.1, 0.0, 0.0), ..Similarity::default() };
    for &kind in Kind::ALL {
        let field = field(kind);
        let expected = picture(&*field, &view);
        let (same, moved) = if kind == Kind::Gaussians {
            let one = |t: Similarity| merge::merged(&[with(&field, t, &[])]).expect("sound").expect("Gaussians");
            (picture(&*one(Similarity::default()), &view), picture(&*one(shift), &view))
        } else {
            let same = whole(vec![field.clone().into()]);
            assert_eq!(same.latent_dim(), field.as_volume().and_then(Volume::latent_dim), "{kind}: latent");
            assert_eq!(same.scene(), field.scene(), "{kind}: scene");
            (picture(&same, &view), picture(&whole(vec![with(&field, shift, &[])]), &view))
        };
        assert!(farthest(&same, &expected) < 1e-5, "{kind}: {}", farthest(&same, &expected));
        // The negative control.
        assert!(farthest(&moved, &expected) > 2e-2, "{kind}: a moved one is {}", farthest(&moved, &expected));
        assert!(matches!(Subject::of(vec![field.into()]), Ok(Subject::Field(_))), "{kind}: one alone is itself");
    }
}

#[test]
fn a_moved_object_shows_the_same_from_a_moved_camera() {
    let view = camera(24, 2);
    for kind in [Kind::Hash, Kind::Voxels, Kind::Vm] {
        let field = field(kind);
        let scene = whole(vec![with(&field, TURNED, &[])]);
        let x = points(500, 0.8, 1);
        let there: Vec<f32> = x.chunks_exact(3).flat_map(|p| TURNED.point(Vec3::from_slice(p)).to_array()).collect();
        let own = log_sigma(field.as_volume().expect("a volume"), &x);
        let twice: Vec<f32> = own.iter().map(|l| l + 2.0_f32.ln()).collect();
        let said = log_sigma(&scene, &there);
        assert!(farthest(&said, &twice) < 1e-2, "{kind}: half the size is twice the density");
        assert!(farthest(&said, &own) > 0.5, "{kind}: the negative control");
        assert_eq!(scene.latent_dim(), None, "directions are turned: its latent cannot be taught");

        let (own, said) = (colours(&*field, &view), colours(&scene, &moved(&view, &TURNED)));
        let (like, unmoved) = (psnr(&own, &said), psnr(&own, &colours(&scene, &view)));
        assert!(like > 32.0, "{kind}: {like:.1} dB");
        assert!(unmoved < like - 8.0, "{kind}: from the old place {unmoved:.1} dB");
        // Densities that were not divided by the scale would show this much less.
        let thin: Vec<f32> = own
            .chunks_exact(4)
            .flat_map(|p| {
                let alpha = 1.0 - (1.0 - p[3].min(1.0)).sqrt();
                let share = if p[3] > 0.0 { alpha / p[3] } else { 0.0 };
                [p[0] * share, p[1] * share, p[2] * share, alpha]
            })
            .collect();
        assert!(psnr(&own, &thin) < like - 8.0, "{kind}: the view tells densities apart, {:.1} dB", psnr(&own, &thin));
    }
}

/// What a person might have drawn: an outline seen from above, a stroke more, a ball less.
fn selection() -> Region {
    let corners = vec![[-0.3, -0.25], [0.3, -0.2], [0.25, 0.3], [-0.3, 0.3]];
    let (right, up) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    let stroke = Stroke::new(vec![Vec3::new(0.7, -0.6, 0.3), Vec3::new(0.6, 0.7, -0.2)], 0.3);
    Region::from(Shape::Outline(Outline { eye: [0.0, 0.0, 2.5], right, up, corners }))
        .with(How::Add, Shape::Stroke(stroke))
        .with(How::Remove, Shape::Sphere(Sphere { centre: [0.0; 3], radius: 0.35 }))
}

#[test]
fn what_is_erased_or_cropped_away_is_empty() {
    let ball = Sphere { centre: [0.2, 0.1, 0.0], radius: 0.4 };
    let slab = Corners { min: [-0.9, -0.5, -0.25], max: [0.9, 0.5, 0.5] };
    let part = selection();
    for kind in [Kind::Hash, Kind::Voxels] {
        let field = field(kind);
        let own = field.as_volume().expect("a volume");
        let (x, ball_centre) = (points(4000, 1.0, 2), Vec3::from(ball.centre));
        let inside = |p: Vec3, edit: &Edit| match edit {
            Edit::EraseSphere(_) => p.distance(ball_centre) > ball.radius,
            Edit::Erase(_) => !part.contains(p),
            Edit::Keep(_) => part.contains(p),
            _ => (0..3).all(|a| (slab.min[a]..=slab.max[a]).contains(&p[a])),
        };
        for edit in [Edit::EraseSphere(ball), Edit::Crop(slab), Edit::Erase(part.clone()), Edit::Keep(part.clone())] {
            let scene = whole(vec![with(&field, Similarity::default(), slice::from_ref(&edit))]);
            let (said, before) = (log_sigma(&scene, &x), log_sigma(own, &x));
            let (mut gone, mut empty_cells) = (0, 0);
            for ((p, said), before) in x.chunks_exact(3).map(Vec3::from_slice).zip(&said).zip(&before) {
                assert!(own.occupancy().contains(p), "it was not empty before");
                if inside(p, &edit) {
                    assert!((said - before).abs() < 1e-5 && scene.occupancy().contains(p), "{kind}: {p} stays");
                } else {
                    gone += 1;
                    empty_cells += usize::from(!scene.occupancy().contains(p));
                    assert!(said.exp() < 1e-12, "{kind}: {p} has the density {}", said.exp());
                }
            }
            assert!(gone > 100 && empty_cells * 3 > gone, "{kind}: {empty_cells} of {gone} lie in empty cells");
        }
    }
}

#[test]
fn densities_add_and_colours_are_weighed() {
    let (a, b) = (field(Kind::Hash), field(Kind::Voxels));
    let (x, d) = (points(300, 0.95, 3), Vec3::new(0.6, 0.0, -0.8));
    let black = with(&b, Similarity::default(), &[Edit::Brightness(0.0)]);
    let scene = whole(vec![a.clone().into(), black]);
    assert_eq!(scene.latent_dim(), None);
    let [va, vb] = [&a, &b].map(|f| f.as_volume().expect("a volume"));
    let [sa, sb, both] = [log_sigma(va, &x), log_sigma(vb, &x), log_sigma(&scene, &x)];
    let (own, said) = (rgb(va, &x, d), rgb(&scene, &x, d));
    for i in 0..300 {
        let (sa, sb) = (sa[i].exp(), sb[i].exp());
        assert!((both[i].exp() / (sa + sb) - 1.0).abs() < 1e-4, "densities add");
        for c in 3 * i..3 * i + 3 {
            assert!((said[c] - own[c] * sa / (sa + sb)).abs() < 1e-4, "the black one darkens by its share");
        }
    }
    assert!(farthest(&said, &own) > 0.05, "the negative control");
    // Points that are asked one after the other in the same place are answered alike.
    let often: Vec<f32> = x.chunks_exact(3).flat_map(|p| p.repeat(4)).collect();
    let each = rgb(&scene, &often, d);
    assert!((0..300).all(|i| (0..12).all(|k| each[12 * i + k] == said[3 * i + k % 3])));
}

/// Gaussians of the third degree.
fn gaussians() -> AnyField {
    let preset = tiny_preset(Kind::Gaussians, &[("field.sh_degree", "3")]);
    let mut field = preset.field.init(&tiny_scene(false), 5, &cpu()).expect("a sound preset");
    let mut rng = Rng::new(5, "stirring");
    for param in field.params_mut() {
        let shape = param.tensor.dims();
        let stirred = values(param.tensor.clone()).into_iter().map(|v| v + 0.15 * rng.normal()).collect();
        *param.tensor = tensor(stirred, shape, &cpu());
    }
    field
}

#[test]
fn gaussians_merge_into_gaussians() {
    let (field, view) = (gaussians(), camera(32, 3));
    let one = merge::merged(&[with(&field, TURNED, &[])]).expect("sound").expect("Gaussians");
    let there = moved(&view, &TURNED);
    let (expected, said) = (colours(&*field, &view), colours(&*one, &there));
    assert!(psnr(&expected, &said) > 55.0, "{:.1} dB", psnr(&expected, &said));
    // The negative control: harmonics that stay as they were.
    let mut unturned = one.clone();
    let kept = field.params().iter().find(|p| p.name == "sh_rest").map(|p| p.tensor.clone()).expect("harmonics");
    unturned.params_mut().into_iter().filter(|p| p.name == "sh_rest").for_each(|p| *p.tensor = kept.clone());
    let worse = psnr(&expected, &colours(&*unturned, &there));
    assert!(worse < 40.0, "unturned harmonics: {worse:.1} dB");

    let erase = Edit::EraseBox(Corners { min: [0.0, -2.0, -2.0], max: [2.0, 2.0, 2.0] });
    let half = merge::merged(&[with(&field, Similarity::default(), &[erase, Edit::Brightness(0.5)])]);
    let half = half.expect("sound").expect("Gaussians");
    let means = |f: &AnyField| values(f.params()[0].tensor.clone());
    let left = means(&half);
    assert!(left.chunks_exact(3).all(|m| m[0] < 0.0) && left.len() * 3 > means(&field).len());
    let both = merge::merged(&[field.clone().into(), with(&half, TURNED, &[])]).expect("sound").expect("Gaussians");
    assert_eq!(means(&both).len(), means(&field).len() + left.len());
    let dark = merge::merged(&[with(&field, Similarity::default(), &[Edit::Brightness(0.5)])]);
    let (dark, bright) = (picture(&*dark.expect("sound").expect("some"), &view), picture(&*field, &view));
    let ratio: f32 =
        dark.chunks_exact(5).map(|p| p[1]).sum::<f32>() / bright.chunks_exact(5).map(|p| p[1]).sum::<f32>();
    assert!((ratio - 0.5).abs() < 0.05, "half as bright: {ratio}");

    // A Gaussian goes where its centre is.
    let part = selection();
    let cut =
        |edit: Edit| means(&merge::merged(&[with(&field, Similarity::default(), &[edit])]).expect("sound").unwrap());
    let (kept, taken) = (cut(Edit::Keep(part.clone())), cut(Edit::Erase(part.clone())));
    assert_eq!(kept.len() + taken.len(), means(&field).len());
    assert!(kept.len() > 30 && kept.chunks_exact(3).all(|m| part.contains(Vec3::from_slice(m))));
    assert!(taken.len() > 30 && !taken.chunks_exact(3).any(|m| part.contains(Vec3::from_slice(m))));

    let nothing = Edit::Crop(Corners { min: [8.0; 3], max: [9.0; 3] });
    let error = merge::merged(&[with(&field, Similarity::default(), &[nothing])]).expect_err("nothing is left");
    assert!(error.what.contains("no Gaussian"), "{error}");
    assert!(merge::merged(&[field.into(), self::field(Kind::Hash).into()]).expect("sound").is_none());
}

#[test]
fn floaters_are_found_and_an_object_alone_has_none() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    let (demo, _) = retort_fields::files::load(&demo, &cpu()).expect("the demo's teacher");
    // One half of the demo, and a small ball of what is solid in the other one.
    let half = Shape::Box(Corners { min: [-1.0; 3], max: [-0.1, 1.0, 1.0] });
    let x = points(20_000, 0.9, 4);
    let said = log_sigma(demo.as_volume().expect("a volume"), &x);
    let solid = x.chunks_exact(3).zip(said).filter(|(x, log_sigma)| x[0] > 0.2 && *log_sigma > 4.0);
    let (at, _) = solid.max_by(|a, b| a.0[0].total_cmp(&b.0[0])).expect("something solid");
    let ball = Sphere { centre: [at[0], at[1], at[2]], radius: 0.08 };
    let keep = |region: Region| with(&demo, TURNED, &[Edit::Keep(region)]);
    let alone = keep(half.clone().into());
    let both = keep(Region::from(half).with(How::Add, Shape::Sphere(ball)));
    let found = |object: &Object, share: f32| floaters::find(object, share).expect("something is solid");
    assert!(found(&both, 0.0).is_none(), "nothing is smaller than nothing");
    let (cleared, before) = (found(&both, 0.1).expect("floaters"), found(&alone, 0.1));
    let pieces = before.as_ref().map_or(0, |cleared| cleared.pieces);
    assert_eq!(cleared.pieces, pieces + 1);
    assert!(cleared.largest < 0.1 && !cleared.keep.contains(ball.centre.into()), "the ball goes");
    if let Some(before) = before {
        assert!(before.keep == cleared.keep, "and nothing else");
    }
    // What was cleared is clear.
    let region = Region::from(Shape::Cells(cleared.keep));
    let mut again = both.clone();
    again.edits.push(Edit::Keep(region));
    assert!(found(&again, 0.1).is_none());

    let gone = with(&demo, Similarity::default(), &[Edit::Erase(Region::everything())]);
    assert!(floaters::find(&gone, 0.2).expect_err("nothing is left").what.contains("solid"));
    let endless: Object = stirred(Kind::Hash, &tiny_scene(true), 3).into();
    assert!(floaters::find(&endless, 0.2).expect_err("no background can be told").what.contains("unbounded"));
}

#[test]
fn floaters_of_gaussians_are_found() {
    // A cluster, and three far away from it.
    let mut field = gaussians();
    let mut rng = Rng::new(6, "cluster");
    for param in field.params_mut() {
        let shape @ [n, width] = param.tensor.dims();
        let far = |i: usize| i < 3;
        let values: Vec<f32> = match param.name {
            "means" => (0..n * width)
                .map(|i| if far(i / width) { 0.85 } else { -0.3 } + 0.05 * rng.normal().clamp(-2.0, 2.0))
                .collect(),
            "log_scales" => vec![-2.5; n * width],
            "raw_opacity" => vec![3.0; n * width],
            _ => continue,
        };
        *param.tensor = tensor(values, shape, &cpu());
    }
    let cleared = floaters::find(&field.clone().into(), 0.3).expect("solid").expect("a floater");
    assert!(cleared.pieces == 1 && !cleared.keep.contains(Vec3::splat(0.85)), "{}", cleared.pieces);
    let region = Region::from(Shape::Cells(cleared.keep));
    let left = merge::merged(&[with(&field, Similarity::default(), &[Edit::Keep(region)])]).expect("sound").unwrap();
    let count = |field: &AnyField| field.params()[0].tensor.dims()[0];
    assert_eq!(count(&left), count(&field) - 3);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let endless = stirred(Kind::Hash, &tiny_scene(true), 3);
    let (near, shift) = (field(Kind::Mlp), Similarity { translation: Vec3::X, ..Similarity::default() });
    let far = Similarity { translation: Vec3::splat(900.0), ..Similarity::default() };
    for (objects, word) in [
        (Vec::new(), "0 objects"),
        (vec![Object::from(near.clone()); 257], "257"),
        (vec![endless.clone().into(), near.clone().into()], "unbounded"),
        (vec![with(&endless, shift, &[])], "unbounded"),
        (vec![near.clone().into(), with(&near, far, &[])], "reach"),
        (vec![with(&near, Similarity { scale: 0.0, ..shift }, &[])], "scale"),
        (vec![with(&near, shift, &[Edit::Brightness(-1.0)])], "brightness"),
    ] {
        let error = Composition::new(objects).expect_err(word);
        assert!(error.what.contains(word) && !error.remedy.is_empty(), "{word}: {error}");
    }
    // An unbounded field keeps its frame, and its edits are in the world.
    let ball = Edit::EraseSphere(Sphere { centre: [0.0; 3], radius: 3.0 });
    let scene = whole(vec![with(&endless, Similarity::default(), &[ball])]);
    assert!(!scene.occupancy().contains(Vec3::ZERO) && scene.occupancy().contains(Vec3::new(0.0, 1.9, 0.0)));
    assert!(!scene.occupancy().contains(Vec3::new(0.0, 1.3, 0.0)), "a radius of 2 in the world");
    assert_eq!(log_sigma(&scene, &[0.0, 1.6, 0.0, 1.8, 0.0, 0.0])[0], -30.0);
    assert!(log_sigma(&scene, &[1.8, 0.0, 0.0])[0] > -20.0);
}

/// A hash grid trained for a moment.
fn trained(kind: Kind) -> AnyField {
    let preset = tiny_preset(kind, &[("train.steps", "4000")]);
    let mut task = Train::new(tiny_dataset(), &preset, &RunOptions::default(), &cpu()).expect("a sound preset");
    advance(&mut task, 150);
    task.current()
}

const SHARES: (&str, &str) = (
    "convert.stages",
    "[{ level = 'latent', share = 0.006, latent = 1.0, sigma = 0.02 }, \
      { level = 'volume', share = 0.012, sigma = 0.02, rgb = 1.0 }, \
      { level = 'image', share = 0.982, sigma = 0.001, rgb = 0.1, pixel = 1.0, alpha = 0.1 }]",
);

fn taught(teacher: impl Into<Subject>, to: Kind, steps: usize) -> AnyField {
    let preset = tiny_preset(to, &[("convert.steps", "4000"), SHARES]);
    let mut task = Convert::new(teacher, &preset, &RunOptions::default(), &cpu()).expect("a pair that fits");
    let steps = advance(&mut task, steps);
    assert!(steps.iter().all(|p| p.loss.is_finite() && p.note.is_none()));
    task.current()
}

/// hash → voxels → erase → mlp: what is taken out of the middle of the chain stays out.
#[test]
fn an_edit_in_a_chain_stays() {
    let voxels = taught(&trained(Kind::Hash), Kind::Voxels, 40);
    // All but a slice, which a narrow view from the side sees.
    let hole = Edit::EraseBox(Corners { min: [-0.25, -2.0, -2.0], max: [0.25, 2.0, 2.0] });
    let edited = Subject::of(vec![with(&voxels, Similarity::default(), &[hole])]).expect("an object");
    let through = Camera::look_at(Vec3::new(0.0, -3.0, 0.3), Vec3::new(0.0, 0.0, 0.0), Vec3::Z, 0.1, 16, 16);
    let most = |field: &dyn Field| picture(field, &through).chunks_exact(5).map(|p| p[3]).fold(0.0, f32::max);
    assert!(most(&*edited) < 1e-4 && most(&*voxels) > 0.5, "{} of {}", most(&*edited), most(&*voxels));
    for to in [Kind::Mlp, Kind::Hash] {
        let student = taught(&edited, to, 60);
        let without = taught(&voxels, to, 60);
        assert!(most(&*student) < 0.05, "{to}: the hole shows {}", most(&*student));
        assert!(most(&*without) > 0.15, "{to}: without the edit it shows {}", most(&*without));
        let like = psnr_over(&*student, &*edited, &camera(24, 1));
        assert!(like > 12.0, "{to}: what is left is learned, {like:.1} dB");
    }
}

#[test]
fn two_fields_become_one_student() {
    let beside = |x: f32| Similarity { scale: 0.5, translation: Vec3::new(x, 0.0, 0.0), ..Similarity::default() };
    let (left, right) = (trained(Kind::Hash), trained(Kind::Gaussians));
    let objects = vec![with(&left, beside(-0.5), &[]), with(&right, beside(0.5), &[Edit::Saturation(0.0)])];
    let both = Subject::of(objects).expect("two objects");
    assert_eq!(both.name(), "scene of 2");
    let before = {
        let fresh = tiny_preset(Kind::Hash, &[]).field.init(both.scene(), 0, &cpu()).expect("sound");
        psnr_over(&*fresh, &*both, &camera(24, 1))
    };
    let student = taught(&both, Kind::Hash, 160);
    let after = psnr_over(&*student, &*both, &camera(24, 1));
    assert!(after > 15.0 && after > before + 4.0, "{before:.1} dB to {after:.1} dB");
    // Both are there: seen from above, each half shows something.
    let above = Camera::look_at(Vec3::new(0.0, 0.0, 4.0), Vec3::ZERO, Vec3::Y, 0.5, 24, 24);
    let shown = picture(&*student, &above);
    let half = |left: bool| -> f32 {
        let alphas = shown.chunks_exact(5).enumerate().filter(|(i, _)| (i % 24 < 12) == left);
        alphas.map(|(_, p)| p[3]).sum()
    };
    assert!(half(true) > 5.0 && half(false) > 5.0, "{} and {}", half(true), half(false));
}

/// A checkpoint belongs to its scene, edits included, and goes on bit for bit.
#[test]
fn a_conversion_of_a_scene_is_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.checkpoint");
    let (voxels, hash) = (field(Kind::Voxels), field(Kind::Hash));
    let scene = |radius: f32| {
        let ball = Edit::EraseSphere(Sphere { centre: [0.3, 0.0, 0.0], radius });
        Subject::of(vec![hash.clone().into(), with(&voxels, TURNED, &[ball])]).expect("two objects")
    };
    let preset = tiny_preset(Kind::Mlp, &[("convert.steps", "4000")]);
    let begin = || Convert::new(scene(0.2), &preset, &RunOptions::default(), &cpu()).expect("a scene");
    let mut straight = begin();
    advance(&mut straight, 8);
    let mut broken = begin();
    advance(&mut broken, 5);
    broken.save_checkpoint(&path).expect("a place");
    let resume = |scene: Subject, path: &Path| Convert::resume(scene, &preset, path, &RunOptions::default(), &cpu());
    let mut resumed = resume(scene(0.2), &path).expect("its own checkpoint");
    advance(&mut resumed, 3);
    assert_same_field(&straight.current(), &resumed.current(), "resumed");
    let error = resume(scene(0.3), &path).err().expect("another edit");
    assert!(error.what.contains("another field") && !error.remedy.is_empty(), "{error}");
}

/// Colours above 1 and densities below 0, which files of others hold: taught as they are shown.
#[test]
fn impossible_colours_and_densities_are_taught_as_they_are_shown() {
    let mut bright = gaussians();
    bright.params_mut().into_iter().filter(|p| p.name == "sh_dc").for_each(|p| {
        *p.tensor = p.tensor.clone().add_scalar(6.0);
    });
    let linear = [("field.density", "linear"), ("field.colour", "clip"), ("field.initial_sigma", "4.0")];
    let mut thin = tiny_preset(Kind::Voxels, &linear).field.init(&tiny_scene(false), 3, &cpu()).expect("sound");
    let mut rng = Rng::new(3, "signs");
    for param in thin.params_mut() {
        let shape = param.tensor.dims();
        let wild = values(param.tensor.clone()).into_iter().map(|v| 3.0 * v * rng.normal() + rng.normal()).collect();
        *param.tensor = tensor(wild, shape, &cpu());
    }
    for teacher in [&bright, &thin] {
        let shown = picture(&**teacher, &camera(24, 1));
        assert!(shown.iter().all(|v| v.is_finite()) && shown.chunks_exact(5).all(|p| (0.0..=1.001).contains(&p[3])));
        for to in [Kind::Hash, Kind::Gaussians] {
            let student = taught(teacher, to, 120);
            assert!(is_finite(&student));
            let like = psnr_over(&*student, &**teacher, &camera(24, 1));
            assert!(like > 10.0, "{} to {to}: {like:.1} dB", teacher.kind());
        }
    }
    let over = picture(&*bright, &camera(24, 1)).chunks_exact(5).any(|p| p[0] > 1.2);
    assert!(over, "the teacher's colours are above 1");
}
