//! A painted surface against the function that it was painted by.

use glam::{Vec2, Vec3};

use super::super::samples::{cube, rainbow, rainbows, torus};
use super::super::unwrap::{PADDING, unwrap};
use super::super::{Mesh, Texture};
use super::{ASKED, Cover, bake, mixed, paint_vertices, scattered, texel_psnr, texels};
use crate::error::{Error, Result};

const SIDE: u32 = 256;

fn painted() -> Mesh {
    let mut mesh = unwrap(&torus(40, 30), SIDE).unwrap().mesh;
    mesh.texture = Some(bake(&mesh, SIDE, |p, _| Ok(rainbows(p))).unwrap());
    mesh
}

#[test]
fn every_point_of_the_surface_has_its_texel() {
    let mesh = unwrap(&torus(40, 30), SIDE).unwrap().mesh;
    let found = texels(&mesh, SIDE, SIDE).unwrap();
    assert!(found.index.is_sorted_by(|a, b| a < b) && found.normals.iter().all(|n| n.is_normalized()));
    for spot in scattered(&mesh, 20_000, 1) {
        let corners = mesh.triangles[spot.triangle as usize];
        let uv: Vec2 = corners.iter().zip(spot.weights).map(|(&v, w)| mesh.uvs[v as usize] * w).sum();
        let texel = (uv * SIDE as f32).as_uvec2();
        let at = found.index.binary_search(&(texel.y * SIDE + texel.x)).expect("a texel that is touched is missing");
        let gap = (found.positions[at] - mixed(&mesh.positions, corners, spot.weights)).length();
        // A texel is some 0.015 wide on this surface, flattened a little unevenly.
        assert!(gap < 0.03, "the texel lies {gap} away");
    }
    // Texels without a place are none of a chart's: no more of them than are within a texel of one.
    let share = found.index.len() as f32 / (SIDE * SIDE) as f32;
    let covered = unwrap(&torus(40, 30), SIDE).unwrap().utilisation;
    assert!(share > covered && share < covered + 0.15, "{share} {covered}");
}

#[test]
fn a_texel_inside_a_triangle_is_where_its_centre_is() {
    // A triangle over the whole of an 8 by 8 texture, its texture coordinates being its positions.
    let corner = |x, y| Vec3::new(x, y, 2.0);
    let positions = vec![corner(0.0, 0.0), corner(1.0, 0.0), corner(0.0, 1.0)];
    let uvs = positions.iter().map(|p| p.truncate()).collect();
    let mesh = Mesh { positions, uvs, triangles: vec![[0, 1, 2]], ..Mesh::default() };
    let found = texels(&mesh, 8, 8).unwrap();
    assert!(found.normals.iter().all(|n| *n == Vec3::Z), "the triangle's own");
    for (at, p) in found.index.iter().zip(&found.positions) {
        let centre = Vec2::new((at % 8) as f32 + 0.5, (at / 8) as f32 + 0.5) / 8.0;
        let over = (centre.x + centre.y - 1.0).max(0.0) / 2.0;
        assert!((p.truncate() - (centre - over)).length() < 1e-6, "{p} for {centre}");
        assert!(over * std::f32::consts::SQRT_2 * 8.0 < 0.708);
    }
    // Texels with x + y < 8 lie inside or on the edge; those of the next diagonal touch it with a corner.
    assert_eq!(found.index.len(), 36 + 7);
}

#[test]
fn a_smooth_colour_is_met_and_a_shifted_texture_is_not() {
    let mut mesh = painted();
    let near = texel_psnr(&mesh, 20_000, 1, |p, _| Ok(rainbows(p))).unwrap();
    assert!(near > 44.0, "{near} dB");
    let texture = mesh.texture.as_mut().unwrap();
    texture.rgb.rotate_right(3 * 3);
    let far = texel_psnr(&mesh, 20_000, 1, |p, _| Ok(rainbows(p))).unwrap();
    assert!(far < near - 6.0, "{far} dB for a shift by three texels");
    mesh.texture.as_mut().unwrap().rgb.fill(128);
    assert!(texel_psnr(&mesh, 20_000, 1, |p, _| Ok(rainbows(p))).unwrap() < 15.0);
}

#[test]
fn colours_of_vertices_are_measured_too() {
    let mut mesh = torus(60, 40);
    assert!(texel_psnr(&mesh, 10, 1, |p, _| Ok(rainbows(p))).is_err(), "it is not painted");
    mesh.colours = paint_vertices(&mesh, |p, _| Ok(rainbows(p))).unwrap();
    assert_eq!(mesh.colours[7], rainbow(mesh.positions[7]));
    assert!(texel_psnr(&mesh, 10_000, 1, |p, _| Ok(rainbows(p))).unwrap() > 35.0);
    mesh.colours.rotate_right(200);
    assert!(texel_psnr(&mesh, 10_000, 1, |p, _| Ok(rainbows(p))).unwrap() < 25.0);
}

/// The largest error of lookups on the borders of charts.
fn seam_error(mesh: &Mesh) -> f32 {
    let mut sides = std::collections::HashMap::new();
    for t in &mesh.triangles {
        for k in 0..3 {
            let (a, b) = (t[k], t[(k + 1) % 3]);
            *sides.entry((a.min(b), a.max(b))).or_insert(0) += 1;
        }
    }
    let border = sides.iter().filter(|(_, count)| **count == 1).map(|(side, _)| side);
    let texture = mesh.texture.as_ref().unwrap();
    border
        .flat_map(|&(a, b)| [0.1, 0.5, 0.9].map(|t| (a as usize, b as usize, t)))
        .map(|(a, b, t)| {
            let said = rainbow(mesh.positions[a].lerp(mesh.positions[b], t));
            let own = texture.bilinear(mesh.uvs[a].lerp(mesh.uvs[b], t));
            (0..3).map(|c| (own[c] - said[c]).abs()).fold(0.0, f32::max)
        })
        .fold(0.0, f32::max)
}

#[test]
fn seams_do_not_show_and_would_without_the_fill() {
    let mut mesh = painted();
    let good = seam_error(&mesh);
    assert!(good < 0.08, "{good}");
    let cover = Cover::new(&mesh, SIDE, SIDE).unwrap();
    let texture = mesh.texture.as_mut().unwrap();
    let filled = texture.rgb.clone();
    for (at, texel) in texture.rgb.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        if cover.index.binary_search(&(at as u32)).is_err() {
            *texel = [0; 3];
        }
    }
    assert!(seam_error(&mesh) > 0.2);
    // Nothing is left out: the colours are never dark, and within the padding they are those of the texels beside.
    assert!(filled.iter().all(|v| *v > 50));
    let side = SIDE as usize;
    for &at in &cover.index {
        let (x, y) = (at as usize % side, at as usize / side);
        for (dx, dy) in [(PADDING as usize, 0), (0, PADDING as usize)] {
            let other = (y + dy).min(side - 1) * side + (x + dx).min(side - 1);
            if cover.index.binary_search(&(other as u32)).is_err() {
                let gap = (0..3).map(|c| filled[3 * at as usize + c].abs_diff(filled[3 * other + c])).max();
                assert!(gap.unwrap() < 60, "{gap:?} at {x} {y}");
            }
        }
    }
}

#[test]
fn many_texels_are_asked_for_in_parts() {
    let mesh = unwrap(&cube(), 512).unwrap().mesh;
    let (mut calls, mut most) = (0, 0);
    let texture = bake(&mesh, 512, |positions, normals| {
        (calls, most) = (calls + 1, most.max(positions.len()));
        assert!(positions.iter().zip(normals).all(|(p, n)| (p - 0.5).dot(*n) > 0.49));
        Ok(rainbows(positions))
    });
    assert!(calls > 1 && most == ASKED, "{calls} of {most}");
    assert_eq!(texture.unwrap().rgb.len(), 3 * 512 * 512);
}

#[test]
fn wrong_answers_and_meshes_are_refused() {
    let mesh = unwrap(&cube(), 64).unwrap().mesh;
    let said = |answer: &dyn Fn(usize) -> Result<Vec<[f32; 3]>>| {
        bake(&mesh, 64, |positions, _| answer(positions.len())).expect_err("a wrong answer").what
    };
    assert!(said(&|n| Ok(vec![[0.5; 3]; n - 1])).contains("colours for"));
    assert!(said(&|n| Ok(vec![[f32::NAN; 3]; n])).contains("not a number"));
    assert_eq!(said(&|_| Err(Error::new("no field"))), "no field");
    let bare = Mesh { uvs: Vec::new(), ..cube() };
    assert!(texels(&bare, 64, 64).unwrap_err().what.contains("no texture coordinates"));
    assert!(texels(&mesh, 0, 64).is_err() && texels(&mesh, 1 << 20, 1 << 20).is_err());
}

#[test]
fn a_texture_is_looked_up_between_its_texels() {
    let texture = Texture { width: 2, height: 2, rgb: [[0; 3], [100; 3], [200; 3], [40; 3]].concat() };
    let at = |x, y| texture.bilinear(Vec2::new(x, y))[0] * 255.0;
    assert_eq!([at(0.0, 0.0), at(0.75, 0.25), at(0.25, 0.75), at(9.0, 9.0)].map(f32::round), [0.0, 100.0, 200.0, 40.0]);
    assert!((at(0.5, 0.5) - 85.0).abs() < 1e-3 && (at(0.5, 0.0) - 50.0).abs() < 1e-3);
}
