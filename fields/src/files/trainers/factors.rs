//! Planes and lines of `TensoRF` and its descendants, put into the table of a factorised field.
//!
//! Their tensors are `[1, R, b, a]` for the planes xy, xz, yz (axes a, b) and `[1, R, n, 1]` for the lines z, y, x, grid
//! points on the faces of the box; the basis is `[latent, ΣR]`, mode by mode. Where the ranks of the modes differ, the table
//! has the largest, filled up with zeros.

use std::ops::Range;

use super::assembly::{ANY, Matrix, Tensor, Weights};
use crate::error::{Error, Result};
use crate::ops::factors::spec::{AXES, FactorSpec, Form};
use crate::rng::Rng;

/// What the factors of density and of appearance are called.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// Planes: `NAME.i`.
    pub plane: &'static str,
    /// Lines: `NAME.i`.
    pub line: &'static str,
}

/// The factors of a field.
pub(super) struct Factors {
    pub spec: FactorSpec,
    /// Whether ranks were filled up.
    pub filled_up: bool,
    /// `[rows, sigma_rank + app_rank]`
    table: Vec<f32>,
    /// `[latent, products]`
    basis: Vec<f32>,
}

/// Reads the factors of density and appearance, and the basis.
///
/// # Errors
/// When a tensor is missing or of another shape, or no field can have that many.
pub(super) fn read(
    weights: &mut Weights<'_, '_, '_>,
    form: Form,
    names: [Names; 2],
    resolution: [u32; 3],
    latent: usize,
) -> Result<Factors> {
    let ranks = [ranks(weights, form, names[0])?, ranks(weights, form, names[1])?];
    let most = |ranks: &[usize]| ranks.iter().copied().max().unwrap_or(0);
    let (sigma_rank, app_rank) = (most(&ranks[0]), most(&ranks[1]));
    let spec = FactorSpec { form, resolution, sigma_rank, app_rank, latent, offset: 0.0, outside: 0.0 };
    spec.check()?;
    check(weights, &spec, names, &ranks)?;
    let mut table = vec![0.0; spec.rows() * spec.columns()];
    for (part, first) in [0, sigma_rank].into_iter().enumerate() {
        fill(weights, &spec, names[part], &ranks[part], first, &mut table)?;
    }
    let basis = basis(weights, &spec, &ranks[1])?;
    let filled_up = ranks.iter().flatten().any(|rank| ![sigma_rank, app_rank].contains(rank));
    Ok(Factors { spec, filled_up, table, basis })
}

/// Ranks of each mode.
fn ranks(weights: &Weights<'_, '_, '_>, form: Form, names: Names) -> Result<Vec<usize>> {
    let rank = |mode: usize| Ok(weights.expect(&format!("{}.{mode}", names.line), &[1, ANY, ANY, 1])?.shape[1]);
    (0..if form == Form::Planes { 3 } else { 1 }).map(rank).collect()
}

/// Each factor's name, its shape, and the rows where it goes.
fn each(spec: &FactorSpec, names: Names, ranks: &[usize]) -> Vec<(String, [usize; 4], Range<usize>)> {
    let mut all = Vec::new();
    for (i, axes) in AXES.iter().enumerate() {
        // The three lines of one mode share its rank.
        let rank = ranks.get(i).or(ranks.first()).copied().unwrap_or(0);
        if spec.form == Form::Planes {
            let ([a, b], start) = (spec.plane_size(i), spec.plane_row(i));
            all.push((format!("{}.{i}", names.plane), [1, rank, b, a], start..start + a * b));
        }
        let (length, start) = (spec.resolution[axes[2]] as usize, spec.line_row(axes[2]));
        all.push((format!("{}.{i}", names.line), [1, rank, length, 1], start..start + length));
    }
    all
}

/// Compares all factors with the shape before memory is taken for the table.
fn check(weights: &Weights<'_, '_, '_>, spec: &FactorSpec, names: [Names; 2], ranks: &[Vec<usize>; 2]) -> Result<()> {
    let mut values = 0;
    for (names, ranks) in names.into_iter().zip(ranks) {
        for (name, shape, _) in each(spec, names, ranks) {
            values += weights.expect(&name, &shape)?.count();
        }
    }
    if spec.rows() * spec.columns() > 4 * values {
        return Err(Error::new("the ranks of its axes are too different: filled up, they would take too much memory")
            .remedy("train it with the same ranks on every axis"));
    }
    Ok(())
}

/// Puts planes and lines into the columns of the table from `first` on.
fn fill(
    weights: &mut Weights<'_, '_, '_>,
    spec: &FactorSpec,
    names: Names,
    ranks: &[usize],
    first: usize,
    table: &mut [f32],
) -> Result<()> {
    for (name, shape, rows) in each(spec, names, ranks) {
        for (rank, values) in weights.take(&name, &shape)?.chunks_exact(rows.len()).enumerate() {
            for (row, value) in rows.clone().zip(values) {
                table[row * spec.columns() + first + rank] = *value;
            }
        }
    }
    Ok(())
}

/// The basis, its columns where the ranks of the table are.
fn basis(weights: &mut Weights<'_, '_, '_>, spec: &FactorSpec, ranks: &[usize]) -> Result<Vec<f32>> {
    let columns = ranks.iter().sum();
    let values = weights.take("basis_mat.weight", &[spec.latent, columns])?;
    let mut first = 0;
    let mut from = vec![None; spec.products()];
    for (mode, rank) in ranks.iter().enumerate() {
        (0..*rank).for_each(|r| from[mode * spec.app_rank + r] = Some(first + r));
        first += rank;
    }
    Ok(Matrix { rows: spec.latent, columns, values }.rearranged(&from).values)
}

impl Factors {
    /// The share of grid points at which a value of the latent lies outside `range`, among those whose density feature is
    /// above its lower end; `probes` points are looked at. Between grid points both are interpolated. For planes.
    pub fn beyond(&self, [low, high]: [f32; 2], probes: usize, rng: &mut Rng) -> f32 {
        let (spec, columns) = (&self.spec, self.spec.columns());
        let (mut seen, mut outside) = (0, 0);
        for _ in 0..probes {
            let at = spec.resolution.map(|r| rng.below(r as usize));
            let products: Vec<Vec<f32>> = (0..spec.modes())
                .map(|mode| {
                    let [a, b, c] = AXES[mode];
                    let plane = spec.plane_row(mode) + at[b] * spec.resolution[a] as usize + at[a];
                    let rows = [plane, spec.line_row(c) + at[c]];
                    let [plane, line] = rows.map(|row| &self.table[row * columns..][..columns]);
                    plane.iter().zip(line).map(|(p, l)| p * l).collect()
                })
                .collect();
            let feature: f32 = products.iter().flat_map(|p| &p[..spec.sigma_rank]).sum();
            if feature <= low {
                continue;
            }
            let of_colour = || products.iter().flat_map(|p| &p[spec.sigma_rank..]);
            let latent = |row: &[f32]| row.iter().zip(of_colour()).map(|(w, p)| w * p).sum::<f32>();
            seen += 1;
            outside +=
                i32::from(self.basis.chunks_exact(spec.products()).any(|row| !(low..=high).contains(&latent(row))));
        }
        outside as f32 / seen.max(1) as f32
    }

    /// The parameters.
    pub fn tensors(self) -> [Tensor; 2] {
        let spec = &self.spec;
        [("factors", [spec.rows(), spec.columns()], self.table), ("basis", [spec.latent, spec.products()], self.basis)]
    }
}
