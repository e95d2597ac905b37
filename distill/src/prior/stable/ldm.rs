//! Multi-view models as they are published (`MultiViewUNetModel`): the configuration and the names of the original
//! latent diffusion code (Rombach et al. 2022), which are the same network as diffusers' in other words.

use retort_fields::error::{Error, Result};
use serde::Deserialize;

use super::config::UnetConfig;

/// `MultiViewUNetModel`'s configuration.
#[derive(Debug, Deserialize)]
pub struct LdmConfig {
    #[serde(default = "image_size")]
    image_size: usize,
    in_channels: usize,
    out_channels: usize,
    model_channels: usize,
    /// How often the picture was halved where there is attention.
    attention_resolutions: Vec<usize>,
    num_res_blocks: usize,
    channel_mult: Vec<usize>,
    #[serde(default)]
    num_heads: Option<i64>,
    #[serde(default)]
    num_head_channels: Option<i64>,
    #[serde(default)]
    use_linear_in_transformer: bool,
    #[serde(default = "depth")]
    transformer_depth: usize,
    context_dim: usize,
    #[serde(default)]
    camera_dim: Option<usize>,
    /// Of models that are told a picture, too, which are not understood.
    #[serde(default)]
    with_ip: bool,
    #[serde(default)]
    ip_dim: usize,
}

fn image_size() -> usize {
    32
}
fn depth() -> usize {
    1
}

impl LdmConfig {
    /// The same in diffusers' words.
    ///
    /// # Errors
    /// When it is a network that those have no words for.
    pub fn unet(&self) -> Result<UnetConfig> {
        let refuse = |what: &str| Err(Error::new(format!("{what} is not understood")));
        if self.with_ip || self.ip_dim > 0 {
            return refuse("a multi-view model that is told a picture");
        }
        if self.channel_mult.is_empty() || self.channel_mult.len() > 8 {
            return refuse("channel_mult");
        }
        let attends = |level: usize| self.attention_resolutions.contains(&(1 << level));
        let levels = self.channel_mult.len();
        let kind = |level: usize, way: &str| {
            let cross = if attends(level) { "CrossAttn" } else { "" };
            format!("{cross}{way}Block2D")
        };
        let widths: Vec<usize> = self.channel_mult.iter().map(|m| m.saturating_mul(self.model_channels)).collect();
        let heads = |width: usize| match (self.num_head_channels, self.num_heads) {
            (Some(channels), _) if channels > 0 => Some(width / channels as usize),
            (_, Some(heads)) if heads > 0 => Some(heads as usize),
            _ => None,
        };
        let Some(heads) = widths.iter().map(|&w| heads(w)).collect::<Option<Vec<_>>>() else {
            return refuse("a network without num_heads and num_head_channels");
        };
        let text = serde_json::json!({
            "sample_size": self.image_size, "in_channels": self.in_channels, "out_channels": self.out_channels,
            "down_block_types": (0..levels).map(|l| kind(l, "Down")).collect::<Vec<_>>(),
            "up_block_types": (0..levels).rev().map(|l| kind(l, "Up")).collect::<Vec<_>>(),
            "block_out_channels": widths, "layers_per_block": self.num_res_blocks,
            "transformer_layers_per_block": self.transformer_depth, "cross_attention_dim": self.context_dim,
            "attention_head_dim": heads, "use_linear_projection": self.use_linear_in_transformer,
            "camera_dim": self.camera_dim.unwrap_or(0),
        });
        serde_json::from_value(text).map_err(|e| Error::new(format!("not understood: {e}")))
    }
}

/// Parts of a residual block in both words.
const RES: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// What the original code calls a weight of diffusers' name, where it has it.
pub fn name(config: &UnetConfig, name: &str) -> Option<String> {
    let (part, kind) = name.rsplit_once('.')?;
    let parts: Vec<&str> = part.split('.').collect();
    let per = config.layers_per_block + 1;
    let number = |i: usize| parts.get(i).and_then(|n| n.parse::<usize>().ok());
    let inside = |skip: usize| parts[skip..].join(".");
    let res = || RES.iter().find(|(ours, _)| parts.last() == Some(ours)).map(|(_, theirs)| *theirs);
    let there = match parts[..] {
        ["conv_in"] => "input_blocks.0.0".to_string(),
        ["time_embedding", "linear_1"] => "time_embed.0".to_string(),
        ["time_embedding", "linear_2"] => "time_embed.2".to_string(),
        ["conv_norm_out"] => "out.0".to_string(),
        ["conv_out"] => "out.2".to_string(),
        ["down_blocks", _, "resnets", ..] => format!("input_blocks.{}.0.{}", 1 + number(1)? * per + number(3)?, res()?),
        ["down_blocks", _, "attentions", ..] => {
            format!("input_blocks.{}.1.{}", 1 + number(1)? * per + number(3)?, inside(4))
        }
        ["down_blocks", _, "downsamplers", ..] => format!("input_blocks.{}.0.op", (number(1)? + 1) * per),
        ["mid_block", "resnets", ..] => format!("middle_block.{}.{}", 2 * number(2)?, res()?),
        ["mid_block", "attentions", ..] => format!("middle_block.1.{}", inside(3)),
        ["up_blocks", _, "resnets", ..] => format!("output_blocks.{}.0.{}", number(1)? * per + number(3)?, res()?),
        ["up_blocks", _, "attentions", ..] => {
            format!("output_blocks.{}.1.{}", number(1)? * per + number(3)?, inside(4))
        }
        ["up_blocks", _, "upsamplers", ..] => {
            let level = config.levels().checked_sub(1 + number(1)?)?;
            let behind = if config.attends(level) { 2 } else { 1 };
            format!("output_blocks.{}.{behind}.conv", number(1)? * per + config.layers_per_block)
        }
        _ => return None,
    };
    Some(format!("{there}.{kind}"))
}
