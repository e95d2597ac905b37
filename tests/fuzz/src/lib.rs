//! The readers of every file format, compiled without the rest of the program.
//!
//! Each reader is included by its path: what the fuzzer runs is the very code of `fields/src`. What it names of fields and
//! their tensors, which would need burn, is in [`stand_ins`]; what is done with an input, in [`inputs`].
#![allow(dead_code, unused_imports, missing_docs)]

// `links.rs` names a device of burn's, of which nothing is asked here.
extern crate self as burn_cubecl;
pub use stand_ins::CubeDevice;

pub mod inputs;
pub mod stand_ins;

#[path = "../../../fields/src/error.rs"]
pub mod error;
#[path = "../../../fields/src/rng.rs"]
pub mod rng;

#[path = "../../../fields/src/files"]
pub mod files {
    pub mod archive;
    pub mod splats;

    pub mod field {
        pub use crate::stand_ins::{Provenance, VERSION};
    }

    pub mod trainers {
        mod assembly;
        mod factors;
        pub mod ingp;
        mod nerfstudio;
        pub mod pytorch;
        pub mod svox2;
        mod tensorf;
        pub mod torch;
        mod torch_ngp;

        // What seeds are written with.
        #[path = "svox2/npz.rs"]
        pub mod npz;
        #[path = "../../../../tests/fuzz/src/seeds.rs"]
        pub mod seeds;
        #[path = "torch/written.rs"]
        mod written;

        /// What a file held.
        pub enum Held {
            /// A field in the parts of our own files.
            Field(Box<super::archive::Archive>),
            /// Gaussians.
            Gaussians(super::splats::Splats),
        }
    }

    pub use archive::{write_atomically, write_with};
}

#[path = "../../../fields/src/mesh"]
pub mod mesh {
    pub mod bake;
    mod components;
    mod fill;
    pub mod glb;
    pub mod import;
    pub mod obj;
    mod sound;
    mod srgb;
    mod triangles;
    pub mod unwrap;

    pub use sound::check;
    pub use triangles::{Mesh, Texture};
}

#[path = "../../../fields/src/ops"]
pub mod ops {
    pub mod simd;

    pub mod factors {
        pub mod spec;
        pub use spec::{FactorSpec, Form};
    }
    pub mod hash_encode {
        pub mod spec;
        pub use spec::HashSpec;
    }
    pub mod voxels {
        pub mod links;
        pub use crate::stand_ins::Colour;
        pub use links::Links;
    }
    pub mod gpu {
        pub use crate::stand_ins::Buffer;
    }
    pub mod kernel {
        pub use crate::stand_ins::CubeTensor;
    }
}

#[path = "../../../fields/src/parts"]
pub mod parts {
    pub mod occupancy;
    pub mod sh;
    pub mod sh_turn;

    pub mod core {
        pub use crate::stand_ins::{ColourEncoding, SH_DIM, VolumeConfig};
    }
}

pub mod data {
    pub use crate::stand_ins::Similarity;
}
pub mod field {
    pub use crate::stand_ins::{ASPECTS, MAX_POSES, Pose, Scene};
}
pub mod kinds {
    pub mod hash {
        pub use crate::stand_ins::HashConfig;
    }
    pub mod voxels {
        pub use crate::stand_ins::{Density, VoxelSpace, VoxelsConfig};
    }
}
pub mod registry {
    pub use crate::stand_ins::FieldConfig;
}
