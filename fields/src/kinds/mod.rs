//! The representations: a file each (configuration, parameters, block 1 and block 2) and a line here. Whatever there is
//! one of for each kind follows from this list; presets are found by their names (`distill/presets/KIND-NAME.toml`).

use std::ops::{Deref, DerefMut};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::field::{Field, Scene};

crate::registry::fields! {
    hash: Hash(HashConfig), "Hash grid (Instant-NGP)";
    mlp: Mlp(MlpConfig), "Neural network (NeRF)";
    voxels: Voxels(VoxelsConfig), "Voxel grid (Plenoxels)";
    vm: Vm(VmConfig), "Planes and lines (TensoRF VM)";
    cp: Cp(CpConfig), "Lines (TensoRF CP)";
    gaussians: Gaussians(GaussiansConfig), "3D Gaussians";
}
