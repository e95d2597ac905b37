use super::*;
use crate::rng::Rng;
use glam::UVec3;

fn ball(centre: [f32; 3], radius: f32) -> Shape {
    Shape::Sphere(Sphere { centre, radius })
}

fn outline(corners: &[[f32; 2]]) -> Shape {
    // From above, the picture's top is +Y: it looks along −Z.
    Shape::Outline(Outline {
        eye: [0.0, 0.0, 2.0],
        right: [1.0, 0.0, 0.0],
        up: [0.0, 1.0, 0.0],
        corners: corners.to_vec(),
    })
}

fn shapes() -> Vec<Shape> {
    let stroke = [[-0.5, -0.5, 0.0], [0.3, -0.2, 0.2], [0.4, 0.6, 0.1]].map(Vec3::from);
    let cells = Cells::new(Aabb::cube(0.8), UVec3::new(8, 4, 5), |i| i % 7 < 4);
    vec![
        Shape::Box(Corners { min: [-0.5, -0.6, -0.7], max: [0.8, 0.7, 0.6] }),
        ball([-0.2, 0.3, 0.1], 0.55),
        Shape::Stroke(Stroke::new(stroke.to_vec(), 0.3)),
        outline(&[[-0.3, -0.25], [0.3, -0.2], [0.35, 0.3], [0.0, 0.05], [-0.3, 0.3]]),
        Shape::Cells(cells),
    ]
}

/// What is said of a box holds for every point in it, and not all is left open.
#[test]
fn boxes_are_judged_as_their_points_are() {
    let mut rng = Rng::new(2, "regions");
    let mut point = || Vec3::new(rng.range(-1.0, 1.0), rng.range(-1.0, 1.0), rng.range(-1.0, 1.0));
    let all = shapes();
    let mixed = Region::from(all[0].clone()).with(How::Remove, all[1].clone()).with(How::Add, all[2].clone());
    let mixed = mixed.with(How::Intersect, all[3].clone()).inverted();
    let regions = all.into_iter().map(Region::from).chain([mixed]);
    for region in regions {
        let mut counts = [0; 3];
        for _ in 0..2000 {
            let corner = point();
            let part = Aabb::new(corner, corner + 0.12 * point());
            let inside = (0..30).filter(|_| region.contains(part.min + part.size() * (0.5 * point() + 0.5))).count();
            match region.meets(part) {
                Meets::Nowhere => assert_eq!(inside, 0, "{region:?}: {part:?}"),
                Meets::Everywhere => assert_eq!(inside, 30, "{region:?}: {part:?}"),
                Meets::Partly => {}
            }
            counts[region.meets(part) as usize] += 1;
        }
        assert!(counts.iter().all(|n| *n > 40), "{region:?}: {counts:?}");
    }
}

#[test]
fn steps_follow_one_another() {
    let (a, b) = (ball([0.0; 3], 0.5), ball([0.5, 0.0, 0.0], 0.5));
    let at = |region: &Region| [-0.25, 0.25, 0.75, 1.5].map(|x| region.contains(Vec3::new(x, 0.0, 0.0)));
    let only_a = Region::default().with(How::Set, a.clone());
    assert_eq!(at(&only_a), [true, true, false, false]);
    assert_eq!(at(&only_a.with(How::Add, b.clone())), [true, true, true, false]);
    assert_eq!(at(&only_a.with(How::Remove, b.clone())), [true, false, false, false]);
    assert_eq!(at(&only_a.with(How::Intersect, b.clone())), [false, true, false, false]);
    assert_eq!(at(&only_a.with(How::Set, b.clone())), [false, true, true, false]);
    assert_eq!(at(&only_a.inverted()), [false, false, true, true]);
    assert_eq!(at(&only_a.inverted().with(How::Remove, b.clone())), [false, false, false, true]);
    assert_eq!(only_a.inverted().inverted(), only_a);
    assert_eq!(at(&Region::everything()), [true; 4]);
    assert_eq!(at(&Region::default().with(How::Intersect, b)), [false; 4]);
}

#[test]
fn outlines_hold_what_is_seen_in_them() {
    let square = outline(&[[-0.1, -0.1], [0.1, -0.1], [0.1, 0.1], [-0.1, 0.1]]);
    for (x, inside) in [
        ([0.0, 0.0, 0.0], true),
        ([0.19, -0.19, 0.0], true),
        ([0.21, 0.0, 0.0], false),
        ([0.21, 0.0, -1.0], true),
        ([0.0, 0.0, 2.5], false),
        ([0.0, 0.0, -100.0], true),
    ] {
        assert_eq!(square.contains(x.into()), inside, "{x:?}");
    }
}

#[test]
fn regions_are_read_as_they_are_written() {
    let region = shapes().into_iter().fold(Region::default(), |r, s| r.with(How::Add, s)).inverted();
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        region: Region,
    }
    let text = toml::to_string(&Holder { region: region.clone() }).expect("TOML");
    assert_eq!(toml::from_str::<Holder>(&text).expect("a region").region, region);
    assert!(region.check().is_ok());
    for (bad, word) in [
        (
            "{ add = { cells = { min = [0,0,0], max = [1,1,1], resolution = [4096,4096,4096], runs = [] } } }",
            "resolution",
        ),
        ("{ add = { cells = { min = [0,0,0], max = [1,1,1], resolution = [2,2,2], runs = [1,9] } } }", "runs"),
        ("{ add = { cells = { min = [0,0,0], max = [0,1,1], resolution = [2,2,2], runs = [1] } } }", "min"),
        ("{ add = { cube = 3 } }", "cube"),
        ("{ smear = 3 }", "smear"),
    ] {
        let error = toml::from_str::<Holder>(&format!("region = [{bad}]")).expect_err(bad);
        assert!(error.message().contains(word), "{bad}: {error}");
    }
}

#[test]
fn impossible_shapes_are_refused() {
    let no = f32::NAN;
    let point = Vec3::ZERO;
    for shape in [
        Shape::Box(Corners { min: [0.0; 3], max: [1.0, 0.0, 1.0] }),
        ball([0.0; 3], no),
        ball([0.0; 3], -1.0),
        Shape::Stroke(Stroke::new(vec![], 0.1)),
        Shape::Stroke(Stroke::new(vec![point], 0.0)),
        Shape::Stroke(Stroke::new(vec![point; MAX_PARTS * 17], 0.1)),
        Shape::Stroke(Stroke::new(vec![Vec3::splat(1e9)], 0.1)),
        outline(&[[0.0, 0.0], [1.0, 1.0]]),
        outline(&[[0.0, 0.0], [1.0, no], [1.0, 0.0]]),
        Shape::Outline(Outline {
            eye: [0.0; 3],
            right: [1.0, 0.0, 0.0],
            up: [1.0, 0.0, 0.0],
            corners: vec![[0.0; 2]; 3],
        }),
    ] {
        assert!(Region::from(shape.clone()).check().is_err(), "{shape:?}");
    }
    assert!(Region::from(vec![Part::Invert; MAX_PARTS + 1]).check().is_err());
    assert!(shapes().into_iter().all(|shape| shape.check().is_ok()));
}
