//! The text encoder: CLIP's (Radford et al. 2021), a transformer whose words see those before them. Its last layer's
//! answer after the final norm is what Stable Diffusion is told.

use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::{Device, Int, Tensor, TensorData};
use retort_fields::error::Result;
use retort_fields::ops::attend::{Groups, attend};

use super::config::ClipConfig;
use super::files::Weights;
use crate::prior::layers::{Layers, Names, Shape};

/// The text encoder.
pub struct TextEncoder {
    config: ClipConfig,
    layers: Layers,
}

/// Every weight with its shape in the file.
pub fn shapes(config: &ClipConfig) -> Vec<Shape> {
    let width = config.hidden_size;
    let mut names = Names::default();
    names.bare("text_model.embeddings.token_embedding", &[config.vocab_size, width]);
    names.bare("text_model.embeddings.position_embedding", &[config.max_position_embeddings, width]);
    for layer in (0..config.num_hidden_layers).map(|i| format!("text_model.encoder.layers.{i}")) {
        for map in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            names.add(&format!("{layer}.self_attn.{map}"), &[width, width]);
        }
        names.add(&format!("{layer}.layer_norm1"), &[width]);
        names.add(&format!("{layer}.layer_norm2"), &[width]);
        names.add(&format!("{layer}.mlp.fc1"), &[config.intermediate_size, width]);
        names.add(&format!("{layer}.mlp.fc2"), &[width, config.intermediate_size]);
    }
    names.add("text_model.final_layer_norm", &[width]);
    names.0
}

impl TextEncoder {
    /// The encoder of a folder's weights.
    ///
    /// # Errors
    /// When the configuration is not understood, or a tensor is missing or of another shape.
    pub fn load(config: ClipConfig, weights: &Weights, device: &Device) -> Result<Self> {
        config.check()?;
        // Newer files leave the first part of the names out.
        let aliases = |name: &str| name.strip_prefix("text_model.").map(String::from).into_iter().collect();
        let table = |name: &str| name.contains(".embeddings.");
        Ok(Self { layers: weights.layers(&shapes(&config), aliases, table, device)?, config })
    }

    /// Its weights, to change.
    pub fn layers_mut(&mut self) -> &mut Layers {
        &mut self.layers
    }

    /// What texts of equally many tokens mean: `[b·tokens, width]`.
    ///
    /// # Panics
    /// When the texts differ in length.
    pub fn encode(&self, texts: &[Vec<u32>]) -> Tensor<2> {
        let (b, t, eps) = (texts.len(), texts[0].len(), self.config.layer_norm_eps);
        assert!(texts.iter().all(|text| text.len() == t), "texts of one length");
        let (l, device) = (&self.layers, self.layers.device());
        let tokens: Vec<i64> = texts.iter().flatten().map(|&id| i64::from(id)).collect();
        let tokens = Tensor::<1, Int>::from_data(TensorData::new(tokens, [b * t]), &device);
        let places = l.get("text_model.embeddings.position_embedding.weight").narrow(0, 0, t).repeat_dim(0, b);
        let mut x = l.get("text_model.embeddings.token_embedding.weight").select(0, tokens) + places;
        for layer in (0..self.config.num_hidden_layers).map(|i| format!("text_model.encoder.layers.{i}")) {
            let part = |name: &str| format!("{layer}.{name}");
            let h = l.layer_norm(&part("layer_norm1"), x.clone(), eps);
            let [q, k, v] =
                ["q_proj", "k_proj", "v_proj"].map(|m| l.linear(&part(&format!("self_attn.{m}")), h.clone()));
            let groups = Groups { groups: b, heads: self.config.num_attention_heads, causal: true };
            let seen = attend(q, k, v, groups);
            x = x + l.linear(&part("self_attn.out_proj"), seen);
            let h = l.linear(&part("mlp.fc1"), l.layer_norm(&part("layer_norm2"), x.clone(), eps));
            let h = if self.config.hidden_act == "gelu" { gelu(h) } else { h.clone() * sigmoid(h * 1.702) };
            x = x + l.linear(&part("mlp.fc2"), h);
        }
        l.layer_norm("text_model.final_layer_norm", x, eps)
    }
}
