//! Where nodes put Gaussians: `Σ′ = M C Cᵀ Mᵀ`, where `C` has a Gaussian's axes as columns, each as long as its scale.

use glam::{DMat3, DMat4, DQuat, DVec3};
use rayon::prelude::*;

use super::super::Splats;
use super::super::turn::turned;
use super::gltf::{Document, Node, damaged};
use crate::error::{Error, Result};

/// How far scales along axes may differ for a transform that counts as one scale.
const SAME: f64 = 1e-5;
/// How far from a turn a matrix may be, after its columns are made unit vectors.
const SKEW: f64 = 1e-3;
/// The shortest axis, e⁻³⁰: that of a Gaussian of scale 0.
const SHORTEST: f32 = 9.4e-14;

/// The meshes of the scene that is shown, each with its place in the world.
///
/// # Errors
/// When a node or scene is missing, or a node is in two places.
pub fn placed(document: &Document) -> Result<Vec<(usize, DMat4)>> {
    let shown = document.scene.unwrap_or(0);
    let roots: Vec<usize> = match document.scenes.get(shown) {
        Some(scene) => scene.nodes.clone(),
        None if document.scenes.is_empty() => {
            let mut child = vec![false; document.nodes.len()];
            let children = document.nodes.iter().flat_map(|node| &node.children);
            children.for_each(|&k| child.get_mut(k).into_iter().for_each(|c| *c = true));
            (0..document.nodes.len()).filter(|&k| !child[k]).collect()
        }
        None => return Err(damaged(&format!("scene {shown} is missing"))),
    };
    let mut seen = vec![false; document.nodes.len()];
    let mut open: Vec<(usize, DMat4)> = roots.into_iter().rev().map(|root| (root, DMat4::IDENTITY)).collect();
    let mut meshes = Vec::new();
    while let Some((k, above)) = open.pop() {
        let node = document.nodes.get(k).ok_or_else(|| damaged(&format!("node {k} is missing")))?;
        if std::mem::replace(&mut seen[k], true) {
            return Err(damaged(&format!("node {k} is in two places")));
        }
        let own = transform(node).ok_or_else(|| damaged(&format!("the rotation of node {k} is none")))?;
        let world = above * own;
        if let Some(mesh) = node.mesh {
            meshes.push((mesh, world));
        }
        open.extend(node.children.iter().rev().map(|&child| (child, world)));
    }
    Ok(meshes)
}

/// What a node does with what is in it; `None` where its rotation is no rotation.
fn transform(node: &Node) -> Option<DMat4> {
    if let Some(matrix) = &node.matrix {
        return Some(DMat4::from_cols_array(matrix));
    }
    let [x, y, z, w] = node.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0]);
    let turn = DQuat::from_xyzw(x, y, z, w);
    let [scale, shift] = [node.scale.unwrap_or([1.0; 3]), node.translation.unwrap_or([0.0; 3])];
    let whole = turn.is_finite() && turn.length_squared() > 1e-12;
    whole.then(|| DMat4::from_scale_rotation_translation(scale.into(), turn.normalize(), shift.into()))
}

/// Puts Gaussians where `world` says.
///
/// # Errors
/// When it is more than a turn, a move and scales along the axes.
pub fn put(splats: &mut Splats, world: &DMat4) -> Result<()> {
    if *world == DMat4::IDENTITY {
        return Ok(());
    }
    let linear = DMat3::from_mat4(*world);
    let scales = DVec3::new(linear.x_axis.length(), linear.y_axis.length(), linear.z_axis.length());
    let unit = DMat3::from_cols(linear.x_axis / scales.x, linear.y_axis / scales.y, linear.z_axis / scales.z);
    if !(world.is_finite() && scales.min_element() > 1e-12 && (unit.determinant() - 1.0).abs() < SKEW) {
        return Err(Error::new(
            "a node mirrors, flattens or shears its Gaussians, for which the format has no meaning",
        )
        .remedy("apply the transform before exporting"));
    }
    let even = scales.max_element() / scales.min_element() - 1.0 < SAME;
    if !even {
        let axes = splats.rotations.par_iter_mut().zip(&mut splats.log_scales);
        axes.for_each(|(q, logs)| (*q, *logs) = stretched(&linear, *q, *logs));
    }
    if even {
        let more = scales.x.ln() as f32;
        splats.log_scales.par_iter_mut().flatten().for_each(|v| *v += more);
    }
    // What is in its place already is kept from being turned.
    let means = std::mem::take(&mut splats.means);
    let axes = (!even).then(|| std::mem::take(&mut splats.rotations));
    turned(splats, DQuat::from_mat3(&unit).normalize().as_quat());
    let moved = |m: [f32; 3]| world.transform_point3(DVec3::from_array(m.map(f64::from))).as_vec3().to_array();
    splats.means = means.into_par_iter().map(moved).collect();
    if let Some(axes) = axes {
        splats.rotations = axes;
    }
    Ok(())
}

/// The axes of the Gaussian `Σ = M C Cᵀ Mᵀ`: those of `M C` after its columns are turned among each other until they
/// are orthogonal (one-sided Jacobi), which keeps short axes exact.
fn stretched(m: &DMat3, q: [f32; 4], logs: [f32; 3]) -> ([f32; 4], [f32; 3]) {
    let q = DQuat::from_xyzw(q[1].into(), q[2].into(), q[3].into(), q[0].into());
    if !q.is_finite() || q.length_squared() < 1e-24 {
        return ([f32::NAN; 4], logs);
    }
    let own = DMat3::from_quat(q.normalize());
    let size = logs.map(|v| f64::from(v.exp().max(SHORTEST)));
    let mut axes: [DVec3; 3] = std::array::from_fn(|k| *m * own.col(k) * size[k]);
    for _ in 0..12 {
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let dot = axes[a].dot(axes[b]);
            let (x, y) = (axes[a].length_squared(), axes[b].length_squared());
            if dot.abs() <= 1e-15 * (x * y).sqrt() {
                continue;
            }
            let zeta = (y - x) / (2.0 * dot);
            let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
            let cos = 1.0 / (1.0 + t * t).sqrt();
            let sin = cos * t;
            (axes[a], axes[b]) = (cos * axes[a] - sin * axes[b], sin * axes[a] + cos * axes[b]);
        }
    }
    let logs = axes.map(|axis| axis.length().ln() as f32);
    let [x, y] = [axes[0], axes[1]].map(DVec3::normalize);
    // A frame is right-handed; the third axis has no sign.
    let turn = DQuat::from_mat3(&DMat3::from_cols(x, y, x.cross(y))).normalize().as_quat();
    ([turn.w, turn.x, turn.y, turn.z], logs)
}
