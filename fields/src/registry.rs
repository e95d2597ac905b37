//! What [`crate::kinds`], the list of representations, becomes: a field of any kind, its configuration, and the names
//! that the command line, the presets, files, tests and benches walk.

use burn::tensor::Tensor;

use crate::error::{Error, Result};

/// A representation a line: its module, its type and that of its configuration, and what it is in a line for people. Its
/// name on the command line and in files is that of the module.
macro_rules! fields {
    ($($module:ident: $variant:ident($config:ident), $label:literal;)*) => {
        $(pub mod $module;)*

        /// A field of any kind, to store; use it as `dyn Field`.
        #[derive(Clone, Debug)]
        pub enum AnyField { $(#[doc = $label] $variant($module::$variant),)* }

        /// The configuration of a field of any kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        pub enum FieldConfig { $(#[doc = $label] $variant($module::$config),)* }

        /// A kind of representation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $(#[doc = $label] $variant,)* }

        impl Kind {
            /// Every kind, in the order of menus.
            pub const ALL: &[Kind] = &[$(Kind::$variant),*];

            /// Its name on the command line and in files.
            pub fn name(self) -> &'static str { match self { $(Kind::$variant => stringify!($module)),* } }

            /// What it is, in a line for people.
            pub fn label(self) -> &'static str { match self { $(Kind::$variant => $label),* } }
        }

        impl AnyField {
            /// Its kind.
            pub fn kind(&self) -> Kind { match self { $(AnyField::$variant(_) => Kind::$variant),* } }

            /// Its configuration.
            pub fn config(&self) -> FieldConfig { match self { $(AnyField::$variant(f) => FieldConfig::$variant(f.config.clone())),* } }
        }

        impl FieldConfig {
            /// The kind that it configures.
            pub fn kind(&self) -> Kind { match self { $(FieldConfig::$variant(_) => Kind::$variant),* } }

            /// A new field with parameters drawn from `seed`.
            ///
            /// # Errors
            /// When a value is out of its range; the message names it.
            pub fn init(&self, scene: &Scene, seed: u64, device: &Device) -> Result<AnyField> {
                self.build(scene, match self { $(FieldConfig::$variant(c) => $module::$variant::draw(c, scene, seed, device)?),* })
            }

            /// Names and shapes of the parameters; 0 rows where the number is free.
            ///
            /// # Errors
            /// When a value is out of its range; the message names it.
            pub fn shapes(&self) -> Result<Vec<(&'static str, [usize; 2])>> {
                match self { $(FieldConfig::$variant(c) => $module::$variant::shapes(c)),* }
            }

            /// A field with these parameters, in the order and of the shapes that [`FieldConfig::shapes`] gives.
            ///
            /// # Errors
            /// When a value is out of its range; the message names it.
            pub fn build(&self, scene: &Scene, tensors: Vec<Tensor<2>>) -> Result<AnyField> {
                Ok(match self { $(FieldConfig::$variant(c) => AnyField::$variant($module::$variant::build(c, scene, tensors)?)),* })
            }
        }

        impl Deref for AnyField {
            type Target = dyn Field;
            fn deref(&self) -> &Self::Target { match self { $(AnyField::$variant(f) => f),* } }
        }

        impl DerefMut for AnyField {
            fn deref_mut(&mut self) -> &mut Self::Target { match self { $(AnyField::$variant(f) => f),* } }
        }
    };
}

pub(crate) use fields;

pub use crate::kinds::{AnyField, FieldConfig, Kind};

/// The tensors as an array.
///
/// # Errors
/// When there is another number of them.
pub(crate) fn exactly<const N: usize>(tensors: Vec<Tensor<2>>) -> Result<[Tensor<2>; N]> {
    let got = tensors.len();
    tensors.try_into().map_err(|_| Error::new(format!("{got} parameter tensors where {N} belong")))
}

impl std::str::FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::new(format!("there is no representation \"{name}\""))
                .remedy(format!("choose one of {}", names.join(", ")))
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl AnyField {
    /// A copy whose parameters collect gradients.
    #[must_use]
    pub fn trainable(&self) -> Self {
        self.map(|tensor| detached(tensor).require_grad())
    }

    /// A copy whose parameters collect none; cheap, the values are shared.
    #[must_use]
    pub fn frozen(&self) -> Self {
        self.map(detached_inner)
    }

    /// A copy with every parameter replaced by `change` of it.
    #[must_use]
    pub fn map(&self, change: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        let mut copy = self.clone();
        for param in copy.params_mut() {
            *param.tensor = change(param.tensor.clone());
        }
        copy
    }
}

/// The values of a tensor, free of any gradient graph.
pub fn detached_inner(tensor: Tensor<2>) -> Tensor<2> {
    if tensor.device().is_autodiff() { tensor.inner() } else { tensor }
}

/// The values of a tensor as a new leaf of a gradient graph.
fn detached(tensor: Tensor<2>) -> Tensor<2> {
    Tensor::from_inner(detached_inner(tensor))
}
