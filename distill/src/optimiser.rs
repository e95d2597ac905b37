//! Adam over the parameters of any field, with a learning rate for each group; over weight matrices, where the preset
//! asks for it, in the basis of their curvature ([`crate::soap`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use burn::tensor::{Device, Gradients, Tensor};
use rayon::prelude::*;
use retort_fields::error::{Error, Result};
use retort_fields::field::{DensityEvent, Param, RowPlan, tensor, values};
use retort_fields::files::archive::Archive;
use retort_fields::ops::adam::{self, Moments};
use retort_fields::ops::mlp::spec::Matrix;
use retort_fields::registry::{AnyField, detached_inner};

use crate::preset::Optimise;
use crate::soap::Soap;

/// The state of Adam for one field.
#[derive(Clone, Debug)]
pub struct Optimiser {
    config: Optimise,
    moments: BTreeMap<&'static str, Moments>,
    /// Of the weight matrices of each parameter.
    soap: BTreeMap<&'static str, Vec<Soap>>,
    /// Steps taken.
    t: u32,
    /// A factor on every rate; lowered after a divergence.
    pub brake: f32,
}

impl Optimiser {
    /// For a field.
    ///
    /// # Errors
    /// When a parameter group of the field has no rate, or a rate belongs to no group.
    pub fn new(config: &Optimise, field: &AnyField) -> Result<Self> {
        for param in field.params() {
            if !config.rates.contains_key(param.group) {
                return Err(Error::new(format!("preset: optimise.rates has no rate for \"{}\"", param.group))
                    .remedy("add it, 0 keeps the parameter as it is"));
            }
        }
        let groups: BTreeSet<_> = field.params().iter().map(|param| param.group).collect();
        if let Some(unknown) = config.rates.keys().find(|group| !groups.contains(group.as_str())) {
            let known: Vec<_> = groups.into_iter().collect();
            return Err(Error::new(format!("preset: optimise.rates.{unknown} is the rate of nothing"))
                .remedy(format!("a field of {} has {}", field.kind(), known.join(", "))));
        }
        Ok(Self { config: config.clone(), moments: BTreeMap::new(), soap: BTreeMap::new(), t: 0, brake: 1.0 })
    }

    /// One step on the field's parameters where `share` of the run is over. `scale` multiplies a group's rate.
    pub fn step(&mut self, field: &mut AnyField, grads: &mut Gradients, share: f32, scale: impl Fn(&str) -> f32) {
        self.t += 1;
        // Adam alone does not ask where matrices lie.
        let with_soap = self.config.soap.is_some();
        let matrices = |p: &Param<'_>| if with_soap { field.matrices(p.name) } else { Vec::new() };
        let matrices: Vec<_> = field.params().iter().map(matrices).collect();
        for (param, matrices) in field.params_mut().into_iter().zip(matrices) {
            let rate =
                self.config.rates.get(param.group).map_or(0.0, |s| s.at(share)) * scale(param.group) * self.brake;
            let Some(grad) = param.tensor.grad_remove(grads) else { continue };
            let device = param.tensor.device().without_autodiff();
            let placeholder = Tensor::zeros([1, 1], &device);
            let value = detached_inner(std::mem::replace(param.tensor, placeholder));
            let turned = self.turned(param.name, &matrices, &value, &grad, rate);
            let moments = self.moments.entry(param.name).or_insert_with(|| Moments::zeros(value.dims(), &device));
            let value = adam::step(value, grad, moments, rate, self.t, &self.config.adam);
            let value = turned.into_iter().fold(value, |value, (range, new)| value.slice_assign([0..1, range], new));
            *param.tensor = Tensor::from_inner(value).require_grad();
        }
    }

    /// The weight matrices of a flat parameter after this step, where the preset turns their gradients into the basis of
    /// their curvature; what is left of the parameter are biases, which Adam alone takes care of.
    fn turned(
        &mut self,
        name: &'static str,
        matrices: &[Matrix],
        value: &Tensor<2>,
        grad: &Tensor<2>,
        rate: f32,
    ) -> Vec<(Range<usize>, Tensor<2>)> {
        let Some(spec) = self.config.soap.filter(|_| !matrices.is_empty()) else { return Vec::new() };
        let (device, t, adam) = (value.device(), self.t, &self.config.adam);
        let fresh = || matrices.iter().map(|m| Soap::new([m.rows, m.columns], &device)).collect();
        let states = self.soap.entry(name).or_insert_with(fresh);
        let one = |(soap, m): (&mut Soap, &Matrix)| {
            let (size, range) = (m.rows * m.columns, m.at..m.at + m.rows * m.columns);
            let part = |of: &Tensor<2>| of.clone().slice([0..1, range.clone()]);
            let step = soap.direction(&part(grad).reshape([m.rows, m.columns]), t, &spec, adam);
            let kept = part(value) * (1.0 - rate * adam.weight_decay);
            (range.clone(), kept - step.reshape([1, size]) * rate)
        };
        states.par_iter_mut().zip(matrices).map(one).collect()
    }

    /// Forgets everything: the field has parameters of another shape.
    pub fn renew(&mut self) {
        self.moments.clear();
        self.soap.clear();
        self.t = 0;
    }

    /// Follows what density control did to the rows.
    pub fn follow(&mut self, events: &[DensityEvent]) {
        for event in events {
            match event {
                DensityEvent::Rows(plan) => {
                    for moments in self.moments.values_mut() {
                        moments.m = take_rows(&moments.m, plan);
                        moments.v = take_rows(&moments.v, plan);
                    }
                }
                DensityEvent::Reset(name) => {
                    if let Some(moments) = self.moments.get_mut(name) {
                        *moments = Moments::zeros(moments.m.dims(), &moments.m.device());
                    }
                }
            }
        }
    }

    /// Puts the state into a checkpoint.
    pub fn write_into(&self, archive: &mut Archive) {
        for (name, moments) in &self.moments {
            for (which, moment) in [("m", &moments.m), ("v", &moments.v)] {
                archive.tensors.push((format!("adam.{which}.{name}"), moment.dims(), values(moment.clone())));
            }
        }
        for (name, states) in &self.soap {
            for (i, soap) in states.iter().enumerate() {
                let state = soap.state().into_iter();
                archive
                    .tensors
                    .extend(state.map(|(which, t)| (soap_name(name, i, which), t.dims(), values(t.clone()))));
            }
        }
        archive.json["adam_t"] = self.t.into();
        archive.json["adam_brake"] = self.brake.into();
    }

    /// Takes the state out of a checkpoint.
    ///
    /// # Errors
    /// When it does not fit the field.
    pub fn read_from(&mut self, archive: &mut Archive, field: &AnyField) -> Result<()> {
        let number = |key: &str| {
            archive.json.get(key).and_then(serde_json::Value::as_f64).ok_or_else(|| {
                Error::new(format!("\"{key}\" is missing")).remedy("not a checkpoint, or a damaged one: start again")
            })
        };
        let (t, brake) = (number("adam_t")?, number("adam_brake")?);
        self.t = t as u32;
        self.brake = brake as f32;
        self.moments.clear();
        self.soap.clear();
        for param in field.params() {
            let names = ["m", "v"].map(|which| format!("adam.{which}.{}", param.name));
            if !archive.tensors.iter().any(|(n, ..)| *n == names[0]) {
                continue;
            }
            let device = param.tensor.device().without_autodiff();
            let mut read = |name: &str| take_state(archive, name, param.tensor.dims(), &device);
            let moments = Moments { m: read(&names[0])?, v: read(&names[1])? };
            self.moments.insert(param.name, moments);
            let matrices = field.matrices(param.name);
            if self.config.soap.is_none() || matrices.is_empty() {
                continue;
            }
            let mut states = Vec::with_capacity(matrices.len());
            for (i, m) in matrices.iter().enumerate() {
                let mut soap = Soap::new([m.rows, m.columns], &device);
                for (which, tensor) in soap.state_mut() {
                    *tensor = take_state(archive, &soap_name(param.name, i, which), tensor.dims(), &device)?;
                }
                states.push(soap);
            }
            self.soap.insert(param.name, states);
        }
        Ok(())
    }
}

/// The name in a checkpoint of a part of the state of a parameter's `i`-th matrix.
fn soap_name(param: &str, i: usize, which: &str) -> String {
    format!("soap.{which}.{i}.{param}")
}

/// Takes a tensor of the run's state out of a checkpoint: of the shape of its parameter, and without NaN. (The square of
/// a gradient may well have been infinite.)
///
/// # Errors
/// When it is missing or something else.
pub fn take_state(archive: &mut Archive, name: &str, shape: [usize; 2], device: &Device) -> Result<Tensor<2>> {
    let (found, data) = archive.take(name)?;
    let remedy = "the checkpoint is damaged: start again without --resume";
    if found != shape {
        return Err(Error::new(format!("tensor \"{name}\" is {found:?}, not {shape:?}")).remedy(remedy));
    }
    if let Some(at) = data.iter().position(|v| v.is_nan()) {
        return Err(Error::new(format!("tensor \"{name}\" holds NaN at {at}")).remedy(remedy));
    }
    Ok(tensor(data, shape, device))
}

fn take_rows(moment: &Tensor<2>, plan: &RowPlan) -> Tensor<2> {
    let width = moment.dims()[1];
    tensor(plan.gather_state(&values(moment.clone()), width), [plan.sources.len(), width], &moment.device())
}
