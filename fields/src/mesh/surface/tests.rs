use super::*;
use crate::mesh::components::report;
use crate::rng::Rng;
use retort_shaders::Aabb;

fn grid_of(resolution: [u32; 3], bounds: Aabb, f: impl Fn(Vec3) -> f32) -> Grid {
    Grid::filled(bounds, resolution, |points| Ok(points.iter().map(|&p| f(p)).collect())).unwrap()
}

fn ball(p: Vec3) -> f32 {
    0.7 - p.length()
}

fn torus(p: Vec3) -> f32 {
    0.22 - (Vec3::new(p.x, p.y, 0.0).length() - 0.6).hypot(p.z)
}

/// Whether the triangles around every vertex make one fan.
fn one_fan_each(mesh: &Mesh) -> bool {
    let mut sides = vec![Vec::new(); mesh.positions.len()];
    for &[a, b, c] in &mesh.triangles {
        sides[a as usize].push((b, c));
        sides[b as usize].push((c, a));
        sides[c as usize].push((a, b));
    }
    sides.iter().all(|sides| {
        let Some(&(first, mut at)) = sides.first() else { return false };
        let mut walked = 1;
        while at != first {
            let Some(&(_, next)) = sides.iter().find(|side| side.0 == at) else { return false };
            at = next;
            walked += 1;
        }
        walked == sides.len()
    })
}

#[test]
fn a_ball_is_closed_and_of_its_size() {
    let mesh = surface(&grid_of([64, 70, 50], Aabb::cube(1.0), ball), 0.0).unwrap();
    let found = report(&mesh);
    assert!(found.watertight && found.components == 1 && found.euler == 2, "{found:?}");
    let volume = 4.0 / 3.0 * std::f64::consts::PI * 0.343;
    assert!((found.volume / volume - 1.0).abs() < 2e-3, "{found:?}");
    assert!((found.area / (4.0 * std::f64::consts::PI * 0.49) - 1.0).abs() < 2e-3, "{found:?}");
    for (p, n) in mesh.positions.iter().zip(&mesh.normals) {
        assert!(n.dot(p.normalize()) > 0.999 && (n.length() - 1.0).abs() < 1e-5, "{p} {n}");
        assert!((p.length() - 0.7).abs() < 1e-3, "{p}");
    }
    // The other level is another ball.
    let smaller = report(&surface(&grid_of([64; 3], Aabb::cube(1.0), ball), 0.2).unwrap());
    assert!((smaller.volume / (4.0 / 3.0 * std::f64::consts::PI * 0.125) - 1.0).abs() < 5e-3, "{smaller:?}");
}

#[test]
fn a_torus_has_a_hole() {
    let found = report(&surface(&grid_of([60, 60, 50], Aabb::cube(1.0), torus), 0.0).unwrap());
    assert!(found.watertight && found.components == 1 && found.euler == 0, "{found:?}");
    let volume = 2.0 * std::f64::consts::PI.powi(2) * 0.6 * 0.22 * 0.22;
    assert!((found.volume / volume - 1.0).abs() < 1e-2, "{found:?}");
}

#[test]
fn noise_is_closed_and_manifold() {
    let mut rng = Rng::new(5, "noise");
    // Rows of one word, of just two, and at their seams.
    for resolution in [[20, 21, 22], [61, 5, 4], [62, 4, 4], [63, 4, 5], [64, 4, 4], [130, 7, 3], [2, 2, 2]] {
        let n: u32 = resolution.iter().product();
        let values = (0..n).map(|_| rng.normal()).collect();
        let grid = Grid::new(Aabb::cube(1.0), resolution, values).unwrap();
        let mesh = surface(&grid, 0.1).unwrap();
        let found = report(&mesh);
        assert!(found.triangles > 0 && found.watertight && found.volume > 0.0, "{resolution:?}: {found:?}");
        assert!(found.euler % 2 == 0 && one_fan_each(&mesh), "{resolution:?}: {found:?}");
        assert!(mesh.normals.iter().all(|n| (n.length() - 1.0).abs() < 1e-5));
        // The control: without one triangle it is neither.
        let mut torn = mesh;
        torn.triangles.pop();
        assert!(!report(&torn).watertight && !one_fan_each(&torn));
    }
}

#[test]
fn few_values_make_every_case_and_are_closed() {
    let mut rng = Rng::new(6, "cases");
    for _ in 0..3 {
        // Values that often equal the level, or each other.
        let values = (0..12 * 12 * 12).map(|_| rng.below(3) as f32).collect();
        let grid = Grid::new(Aabb::cube(1.0), [12; 3], values).unwrap();
        let mesh = surface(&grid, 1.0).unwrap();
        assert!(report(&mesh).watertight && one_fan_each(&mesh));
        let flat = mesh.triangles.iter().filter(|&&t| crate::mesh::components::area(&mesh, t) == 0.0).count();
        assert_eq!(flat, 0, "triangles without area");
    }
}

#[test]
fn a_linear_function_is_met_exactly() {
    let bounds = Aabb::new(Vec3::new(-1.0, -2.0, 0.5), Vec3::new(2.0, 1.0, 3.0));
    let normal = Vec3::new(0.3, -0.5, 0.8).normalize();
    let mesh = surface(&grid_of([33, 40, 29], bounds, |p| normal.dot(p) - 1.1), 0.0).unwrap();
    let cell = bounds.size().max_element() / 28.0;
    let open = |p: &Vec3| bounds.contains(*p);
    let on: Vec<_> = mesh.positions.iter().zip(&mesh.normals).filter(|(p, _)| open(p)).collect();
    assert!(on.len() > 500);
    for (p, n) in on {
        assert!((normal.dot(*p) - 1.1).abs() < 1.1e-3 * cell, "{p}");
        assert!(n.distance(-normal) < 1e-3, "{n}");
    }
    let found = report(&mesh);
    assert!(found.watertight && found.euler == 2, "{found:?}");
    // The control: the same vertices are not on a plane beside it.
    assert!(mesh.positions.iter().filter(|p| (normal.dot(**p) - 1.15).abs() < 1.1e-3 * cell).count() < 20);
}

#[test]
fn what_reaches_the_border_is_closed_there() {
    let bounds = Aabb::new(Vec3::ZERO, Vec3::new(1.0, 2.0, 3.0));
    let whole = report(&surface(&grid_of([5, 9, 13], bounds, |_| 1.0), 0.0).unwrap());
    assert!(whole.watertight && whole.euler == 2, "{whole:?}");
    assert!((whole.volume - 6.0).abs() < 0.02, "{whole:?}");
    let half = surface(&grid_of([32; 3], Aabb::cube(0.5), ball), 0.0).unwrap();
    let found = report(&half);
    assert!(found.watertight, "{found:?}");
    let reach = half.positions.iter().map(|p| p.abs().max_element()).fold(0.0, f32::max);
    assert!(reach > 0.5 && reach < 0.5 + 0.01 / 31.0, "{reach}");
}

#[test]
fn degenerate_grids_are_empty_or_refused() {
    let of = |value: f32| grid_of([8; 3], Aabb::cube(1.0), move |_| value);
    assert_eq!(surface(&of(0.0), 1.0).unwrap(), Mesh::default());
    // On the level is outside.
    assert_eq!(surface(&of(1.0), 1.0).unwrap(), Mesh::default());
    assert_eq!(surface(&of(f32::NEG_INFINITY), 1.0).unwrap(), Mesh::default());
    let mut grid = of(0.0);
    for place in [0, 77, 511] {
        grid.values[place] = f32::NAN;
        assert!(surface(&grid, 0.5).unwrap_err().to_string().contains("not a number"), "{place}");
        grid.values[place] = 0.0;
    }
    for level in [f32::NAN, f32::INFINITY, f32::MAX] {
        assert!(surface(&of(0.0), level).unwrap_err().to_string().contains("level"));
    }
    grid.values.pop();
    assert!(surface(&grid, 0.5).is_err());
    let mut spike = of(f32::NEG_INFINITY);
    let middle = spike.index([4, 4, 4]);
    spike.values[middle] = f32::INFINITY;
    let found = surface(&spike, 0.0).unwrap();
    assert_eq!((report(&found).euler, found.triangles.len()), (2, 8));
    assert!(found.positions.iter().chain(&found.normals).all(|p| p.is_finite()));
}

#[test]
fn refined_vertices_are_nearer_to_the_field() {
    // Far from linear within a cell.
    let field = |p: Vec3| (8.0 * (0.7 - p.length())).exp().min(40.0);
    let ask = |points: &[Vec3]| Ok(points.iter().map(|&p| field(p)).collect());
    let grid = grid_of([24; 3], Aabb::cube(1.0), field);
    let coarse = surface(&grid, 5.0).unwrap();
    let fine = refined(&coarse, 5.0, 0.5 * grid.spacing().x, ask).unwrap();
    let radius = 0.7 - 5.0_f32.ln() / 8.0;
    let worst = |m: &Mesh| m.positions.iter().map(|p| (p.length() - radius).abs()).fold(0.0, f32::max);
    assert!(worst(&coarse) > 3e-3 && worst(&fine) < 1e-4, "{} to {}", worst(&coarse), worst(&fine));
    assert_eq!(coarse.triangles, fine.triangles);
    // Where the field has no such level near, everything stays.
    assert_eq!(refined(&coarse, 1000.0, 0.01, ask).unwrap(), coarse);
    // A step function is met as well.
    let step = |points: &[Vec3]| Ok(points.iter().map(|&p| if p.length() < radius { 9.0 } else { 0.0 }).collect());
    let met = refined(&coarse, 5.0, 0.5 * grid.spacing().x, step).unwrap();
    assert!(worst(&met) < 0.5 * worst(&coarse), "{}", worst(&met));
    assert!(refined(&coarse, 5.0, 0.0, ask).is_err());
    assert!(refined(&Mesh { normals: Vec::new(), ..coarse.clone() }, 5.0, 0.1, ask).is_err());
    assert!(refined(&coarse, 5.0, 0.1, |p| Ok(vec![f32::NAN; p.len()])).is_err());
}
