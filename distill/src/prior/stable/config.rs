//! What the `config.json` files of a diffusers folder say. Values that would change the network and are not understood
//! are refused; those that do not matter here are passed over.

use std::path::Path;

use retort_fields::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One number, or one for each level.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    /// The same everywhere.
    One(usize),
    /// By level.
    Each(Vec<usize>),
}

impl PerLevel {
    /// At a level.
    pub fn at(&self, level: usize) -> Option<usize> {
        match self {
            Self::One(n) => Some(*n),
            Self::Each(all) => all.get(level).copied(),
        }
    }
}

/// A denoiser: diffusers' `UNet2DConditionModel`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the file has them")]
pub struct UnetConfig {
    /// Side of the latents that it was taught with.
    pub sample_size: usize,
    /// Channels of a latent.
    pub in_channels: usize,
    /// Channels of the answer.
    pub out_channels: usize,
    /// Kinds of the levels from the outer to the inner.
    pub down_block_types: Vec<String>,
    /// Kinds of the levels from the inner to the outer.
    pub up_block_types: Vec<String>,
    /// Widths of the levels.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level on the way down.
    pub layers_per_block: usize,
    /// Transformer blocks of an attention.
    pub transformer_layers_per_block: PerLevel,
    /// Width of the text.
    pub cross_attention_dim: usize,
    /// The number of heads, whatever it is called (`unet_2d_condition.py`).
    pub attention_head_dim: PerLevel,
    /// The number of heads where it is given by its own name.
    pub num_attention_heads: Option<PerLevel>,
    /// Whether attention's ends are linear maps and not 1 × 1 convolutions; the file differs, the computation does not.
    pub use_linear_projection: bool,
    /// Groups of the norms.
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' norms.
    pub norm_eps: f32,
    /// Numbers that tell a camera, 0 for a model without one.
    pub camera_dim: usize,
    /// Named in newer configurations; only none of these is understood.
    class_embed_type: Option<String>,
    addition_embed_type: Option<String>,
    dual_cross_attention: bool,
    only_cross_attention: bool,
    center_input_sample: bool,
    flip_sin_to_cos: bool,
    freq_shift: i32,
    act_fn: String,
    resnet_time_scale_shift: String,
}

/// diffusers' own, for what a file leaves out.
impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            sample_size: 64,
            in_channels: 4,
            out_channels: 4,
            down_block_types: [CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, "DownBlock2D"].map(String::from).to_vec(),
            up_block_types: ["UpBlock2D", CROSS_UP, CROSS_UP, CROSS_UP].map(String::from).to_vec(),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            transformer_layers_per_block: PerLevel::One(1),
            cross_attention_dim: 1280,
            attention_head_dim: PerLevel::One(8),
            num_attention_heads: None,
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            camera_dim: 0,
            class_embed_type: None,
            addition_embed_type: None,
            dual_cross_attention: false,
            only_cross_attention: false,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0,
            act_fn: "silu".into(),
            resnet_time_scale_shift: "default".into(),
        }
    }
}

const CROSS_DOWN: &str = "CrossAttnDownBlock2D";
const CROSS_UP: &str = "CrossAttnUpBlock2D";

fn refuse<T>(what: &str) -> Result<T> {
    Err(Error::new(format!("{what} is not understood"))
        .remedy("give a folder of Stable Diffusion 1.x or 2.x, or of a multi-view model of their shape"))
}

impl UnetConfig {
    /// Levels.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Whether a level attends, from the outer one.
    pub fn attends(&self, level: usize) -> bool {
        self.down_block_types[level] == CROSS_DOWN
    }

    /// Heads at a level.
    pub fn heads(&self, level: usize) -> usize {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim).at(level).unwrap_or(1)
    }

    /// Transformer blocks at a level.
    pub fn depth(&self, level: usize) -> usize {
        self.transformer_layers_per_block.at(level).unwrap_or(1)
    }

    /// Width of the time's embedding.
    pub fn time_width(&self) -> usize {
        4 * self.block_out_channels[0]
    }

    /// Checks what is built upon.
    ///
    /// # Errors
    /// When it is another network than those known here.
    pub fn check(&self) -> Result<()> {
        let levels = self.levels();
        let one_for_each = |per: &PerLevel| matches!(per, PerLevel::One(_)) || per.at(levels - 1).is_some();
        if !(1..=8).contains(&levels) || self.down_block_types.len() != levels || self.up_block_types.len() != levels {
            return refuse("a number of levels that differs from block_out_channels");
        }
        for (level, kind) in self.down_block_types.iter().enumerate() {
            let up = &self.up_block_types[levels - 1 - level];
            let fits = match kind.as_str() {
                CROSS_DOWN => up == CROSS_UP,
                "DownBlock2D" => up == "UpBlock2D",
                _ => false,
            };
            if !fits {
                return refuse(&format!("a level of {kind} and {up}"));
            }
        }
        let sizes =
            [self.in_channels, self.out_channels, self.cross_attention_dim, self.norm_num_groups, self.sample_size];
        let widths = self.block_out_channels.iter();
        let layers =
            (1..=16).contains(&self.layers_per_block) && (0..levels).all(|l| (1..=64).contains(&self.depth(l)));
        if sizes.iter().chain(widths.clone()).any(|n| !(1..=16_384).contains(n)) || !layers {
            return refuse("a size of 0 or far beyond what is usual");
        }
        if !one_for_each(&self.attention_head_dim) || !one_for_each(&self.transformer_layers_per_block) {
            return refuse("a list shorter than the levels");
        }
        for (level, width) in widths.enumerate() {
            let heads = self.heads(level);
            if !width.is_multiple_of(self.norm_num_groups) || heads == 0 || !width.is_multiple_of(heads) {
                return refuse(&format!("a width of {width} in {} groups and {heads} heads", self.norm_num_groups));
            }
        }
        if !self.sample_size.is_multiple_of(1 << (levels - 1)) {
            return refuse(&format!("latents of {0} × {0}", self.sample_size));
        }
        let odd = [
            ("class_embed_type", self.class_embed_type.is_some()),
            ("addition_embed_type", self.addition_embed_type.is_some()),
            ("dual_cross_attention", self.dual_cross_attention),
            ("only_cross_attention", self.only_cross_attention),
            ("center_input_sample", self.center_input_sample),
            ("flip_sin_to_cos of false", !self.flip_sin_to_cos),
            ("freq_shift", self.freq_shift != 0),
            ("act_fn", self.act_fn != "silu"),
            ("resnet_time_scale_shift", self.resnet_time_scale_shift != "default"),
        ];
        match odd.iter().find(|(_, odd)| *odd) {
            Some((name, _)) => refuse(name),
            None => Ok(()),
        }
    }
}

/// From pictures to latents and back: diffusers' `AutoencoderKL`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Channels of a picture.
    pub in_channels: usize,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Widths of the levels.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level on the way in.
    pub layers_per_block: usize,
    /// Groups of the norms.
    pub norm_num_groups: usize,
    /// What latents are multiplied with to be of about unit spread.
    pub scaling_factor: f32,
    shift_factor: Option<f32>,
    use_quant_conv: bool,
    mid_block_add_attention: bool,
}

/// diffusers' own, for what a file leaves out; levels have none, so a file without them is refused.
impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            latent_channels: 4,
            block_out_channels: Vec::new(),
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            use_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl VaeConfig {
    /// Pixels along a latent's side.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// Checks what is built upon.
    ///
    /// # Errors
    /// When it is another network than those known here.
    pub fn check(&self) -> Result<()> {
        let widths = &self.block_out_channels;
        let fits = |w: &usize| (1..=16_384).contains(w) && w.is_multiple_of(self.norm_num_groups);
        if !(1..=8).contains(&widths.len()) || self.norm_num_groups == 0 || !widths.iter().all(fits) {
            return refuse("block_out_channels of the autoencoder");
        }
        if self.in_channels != 3
            || !(1..=64).contains(&self.latent_channels)
            || !(1..=16).contains(&self.layers_per_block)
        {
            return refuse("the autoencoder's number of channels or layers");
        }
        if self.shift_factor.is_some_and(|s| s != 0.0) || !self.use_quant_conv || !self.mid_block_add_attention {
            return refuse("an autoencoder with shift_factor, without quant_conv or without attention");
        }
        Ok(())
    }
}

/// From words to numbers: transformers' `CLIPTextModel`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Width.
    pub hidden_size: usize,
    /// Width of the small networks.
    pub intermediate_size: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Words.
    pub vocab_size: usize,
    /// The longest text.
    pub max_position_embeddings: usize,
    /// The small networks' activation.
    pub hidden_act: String,
    /// Epsilon of the norms.
    pub layer_norm_eps: f32,
}

/// transformers' own, for what a file leaves out; sizes have none, so a file without them is refused.
impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            hidden_size: 0,
            intermediate_size: 0,
            num_attention_heads: 0,
            num_hidden_layers: 0,
            vocab_size: 0,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipConfig {
    /// Checks what is built upon.
    ///
    /// # Errors
    /// When it is another network than those known here.
    pub fn check(&self) -> Result<()> {
        let sizes = [self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.max_position_embeddings];
        if sizes.iter().any(|n| !(1..=65_536).contains(n)) || !(1..=1 << 20).contains(&self.vocab_size) {
            return refuse("a size of the text encoder");
        }
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return refuse("num_attention_heads of the text encoder");
        }
        match self.hidden_act.as_str() {
            "quick_gelu" | "gelu" => Ok(()),
            other => refuse(&format!("the activation {other}")),
        }
    }
}

/// How noise is put on.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// Steps.
    pub num_train_timesteps: usize,
    /// The first step's β.
    pub beta_start: f32,
    /// The last step's.
    pub beta_end: f32,
    /// How it rises in between.
    pub beta_schedule: String,
    /// What the network says: the noise, or the velocity.
    pub prediction_type: String,
    /// Whether a sampler's last step ends without any noise.
    pub set_alpha_to_one: bool,
    /// Added to a sampler's steps.
    pub steps_offset: u32,
    /// Where a sampler's steps lie; each sampler has its own where none is named.
    pub timestep_spacing: Option<String>,
    rescale_betas_zero_snr: bool,
    trained_betas: Option<Vec<f32>>,
}

/// diffusers' own, for what a file leaves out.
impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: "linear".into(),
            prediction_type: "epsilon".into(),
            set_alpha_to_one: true,
            steps_offset: 0,
            timestep_spacing: None,
            rescale_betas_zero_snr: false,
            trained_betas: None,
        }
    }
}

impl SchedulerConfig {
    /// Whether the network says the velocity (Salimans and Ho 2022).
    pub fn says_velocity(&self) -> bool {
        self.prediction_type == "v_prediction"
    }

    /// Checks what is built upon.
    ///
    /// # Errors
    /// When it is a schedule that is not known here.
    pub fn check(&self) -> Result<()> {
        if !(2..=100_000).contains(&self.num_train_timesteps) {
            return refuse("num_train_timesteps");
        }
        if !(0.0..1.0).contains(&self.beta_start) || !(0.0..1.0).contains(&self.beta_end) {
            return refuse("beta_start or beta_end outside 0 to 1");
        }
        if !["epsilon", "v_prediction"].contains(&self.prediction_type.as_str()) {
            return refuse(&format!("prediction_type {}", self.prediction_type));
        }
        if !["linear", "scaled_linear"].contains(&self.beta_schedule.as_str()) {
            return refuse(&format!("beta_schedule {}", self.beta_schedule));
        }
        let spacing = self.timestep_spacing.as_deref();
        if spacing.is_some_and(|s| !["leading", "trailing", "linspace"].contains(&s)) {
            return refuse("timestep_spacing");
        }
        if self.rescale_betas_zero_snr || self.trained_betas.is_some() {
            return refuse("rescale_betas_zero_snr or trained_betas");
        }
        Ok(())
    }
}

/// The configuration of one part.
///
/// # Errors
/// When the file is missing, longer than any configuration, or not understood; the error names it.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    read_up_to(path, 1 << 20)
}

/// The same of a file of up to `most` bytes.
///
/// # Errors
/// As [`read`].
pub fn read_up_to<T: DeserializeOwned>(path: &Path, most: u64) -> Result<T> {
    let size = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
    if size > most {
        return Err(Error::new(format!("{size} bytes are more than a configuration has")).file(path));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, &e))?;
    serde_json::from_str(&text).map_err(|e| Error::new(format!("not understood: {e}")).file(path))
}
