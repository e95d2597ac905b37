//! From pictures to latents and back (Kingma and Welling 2014, Rombach et al. 2022). The way in has a gradient that is
//! computed piece by piece: only what goes into each piece is kept on the way in, and the piece is computed again on the
//! way back, so that the memory is that of the largest piece and not that of the whole.

use burn::tensor::{Device, Tensor};
use retort_fields::error::Result;
use retort_fields::ops::attend::{Groups, attend};
use retort_fields::ops::norm::Norm;

use super::config::VaeConfig;
use super::files::Weights;
use super::unet::{res_shapes, residual};
use crate::prior::Trail;
use crate::prior::layers::{Layers, Names, Shape, double, pictures, rows};

/// Epsilon of its norms (`vae.py`).
const EPS: f32 = 1e-6;

/// The autoencoder.
pub struct Vae {
    config: VaeConfig,
    layers: Layers,
    /// The same weights, able to meet a gradient graph.
    on_graph: Layers,
}

/// What the way in says of pictures: a normal distribution of latents, `[n·side², c]`, not yet scaled.
pub struct Posterior {
    /// Its mean.
    pub mean: Tensor<4>,
    /// The logarithm of its variance, −30 to 20.
    pub logvar: Tensor<4>,
}

/// A piece of the way in.
#[derive(Clone, Debug)]
enum Piece {
    First,
    Res { name: String, side: usize },
    Halve { name: String, side: usize },
    Attention { side: usize },
    Last { side: usize },
}

fn middle_shapes(names: &mut Names, way: &str, width: usize) {
    res_shapes(names, &format!("{way}.mid_block.resnets.0"), width, width, None);
    let attention = format!("{way}.mid_block.attentions.0");
    names.add(&format!("{attention}.group_norm"), &[width]);
    ["to_q", "to_k", "to_v", "to_out.0"].iter().for_each(|m| names.add(&format!("{attention}.{m}"), &[width, width]));
    res_shapes(names, &format!("{way}.mid_block.resnets.1"), width, width, None);
}

/// Every weight with its shape in the file.
pub fn shapes(config: &VaeConfig) -> Vec<Shape> {
    let (widths, latent) = (&config.block_out_channels, config.latent_channels);
    let (levels, inner) = (widths.len(), widths[widths.len() - 1]);
    let names = &mut Names::default();
    names.add("encoder.conv_in", &[widths[0], config.in_channels, 3, 3]);
    for (i, &width) in widths.iter().enumerate() {
        for j in 0..config.layers_per_block {
            let inputs = if j == 0 { widths[i.saturating_sub(1)] } else { width };
            res_shapes(names, &format!("encoder.down_blocks.{i}.resnets.{j}"), inputs, width, None);
        }
        if i + 1 < levels {
            names.add(&format!("encoder.down_blocks.{i}.downsamplers.0.conv"), &[width, width, 3, 3]);
        }
    }
    middle_shapes(names, "encoder", inner);
    names.add("encoder.conv_norm_out", &[inner]);
    names.add("encoder.conv_out", &[2 * latent, inner, 3, 3]);
    names.add("quant_conv", &[2 * latent, 2 * latent, 1, 1]);
    names.add("post_quant_conv", &[latent, latent, 1, 1]);
    names.add("decoder.conv_in", &[inner, latent, 3, 3]);
    middle_shapes(names, "decoder", inner);
    for (i, &width) in widths.iter().rev().enumerate() {
        for j in 0..=config.layers_per_block {
            let inputs = if j == 0 { widths[(levels - i).min(levels - 1)] } else { width };
            res_shapes(names, &format!("decoder.up_blocks.{i}.resnets.{j}"), inputs, width, None);
        }
        if i + 1 < levels {
            names.add(&format!("decoder.up_blocks.{i}.upsamplers.0.conv"), &[width, width, 3, 3]);
        }
    }
    names.add("decoder.conv_norm_out", &[widths[0]]);
    names.add("decoder.conv_out", &[config.in_channels, widths[0], 3, 3]);
    std::mem::take(&mut names.0)
}

/// What older files call a map of the attention.
fn older(name: &str) -> Vec<String> {
    let pairs = [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")];
    let renamed = pairs.iter().find(|(new, _)| name.contains("attentions.0") && name.contains(new));
    renamed.map(|(new, old)| name.replace(new, old)).into_iter().collect()
}

impl Vae {
    /// The autoencoder of a folder's weights.
    ///
    /// # Errors
    /// When the configuration is not understood, or a tensor is missing or of another shape.
    pub fn load(config: VaeConfig, weights: &Weights, device: &Device) -> Result<Self> {
        config.check()?;
        let layers = weights.layers(&shapes(&config), older, |_| false, device)?;
        Ok(Self { on_graph: layers.on_graph(), layers, config })
    }

    /// Its configuration.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The same with what is multiplied in float16.
    #[cfg(test)]
    pub(super) fn halved(&mut self) {
        self.layers.each(crate::prior::layers::half);
        self.on_graph = self.layers.on_graph();
    }

    /// The pieces of the way in for pictures of this side.
    fn pieces(&self, mut side: usize) -> Vec<Piece> {
        let mut pieces = vec![Piece::First];
        let levels = self.config.block_out_channels.len();
        for i in 0..levels {
            for j in 0..self.config.layers_per_block {
                pieces.push(Piece::Res { name: format!("encoder.down_blocks.{i}.resnets.{j}"), side });
            }
            if i + 1 < levels {
                pieces.push(Piece::Halve { name: format!("encoder.down_blocks.{i}.downsamplers.0.conv"), side });
                side /= 2;
            }
        }
        pieces.push(Piece::Res { name: "encoder.mid_block.resnets.0".into(), side });
        pieces.push(Piece::Attention { side });
        pieces.push(Piece::Res { name: "encoder.mid_block.resnets.1".into(), side });
        pieces.push(Piece::Last { side });
        pieces
    }

    fn run(&self, l: &Layers, piece: &Piece, x: Tensor<2>, whole: usize) -> Tensor<2> {
        let groups = self.config.norm_num_groups;
        let views = |x: &Tensor<2>, side: usize| x.dims()[0] / (side * side);
        match piece {
            Piece::First => l.conv("encoder.conv_in", x, whole),
            Piece::Res { name, side } => {
                let n = views(&x, *side);
                residual(l, name, x, (n, *side), None, (groups, EPS))
            }
            Piece::Halve { name, side } => l.halve(name, x, *side, 0),
            Piece::Attention { side } => {
                let n = views(&x, *side);
                self.attention(l, "encoder.mid_block.attentions.0", x, n)
            }
            Piece::Last { side } => {
                let n = views(&x, *side);
                let x = l.norm("encoder.conv_norm_out", x, Norm { views: n, groups, eps: EPS, silu: true });
                l.linear("quant_conv", l.conv("encoder.conv_out", x, *side))
            }
        }
    }

    fn attention(&self, l: &Layers, name: &str, x: Tensor<2>, views: usize) -> Tensor<2> {
        let spec = Norm { views, groups: self.config.norm_num_groups, eps: EPS, silu: false };
        let h = l.norm(&format!("{name}.group_norm"), x.clone(), spec);
        let [q, k, v] = ["to_q", "to_k", "to_v"].map(|m| l.linear(&format!("{name}.{m}"), h.clone()));
        x + l.linear(&format!("{name}.to_out.0"), attend(q, k, v, Groups { groups: views, heads: 1, causal: false }))
    }

    /// What pictures `[n, 3, side, side]`, values −1 to 1, are as latents.
    pub fn encode(&self, x: Tensor<4>) -> Posterior {
        self.encode_watched(x, &mut |_| ())
    }

    /// The same with what goes into each piece.
    pub fn encode_kept(&self, x: Tensor<4>) -> (Posterior, Trail) {
        let mut trail = Trail::new();
        let posterior = self.encode_watched(x, &mut |x| trail.push(x.clone()));
        (posterior, trail)
    }

    fn encode_watched(&self, x: Tensor<4>, watch: &mut dyn FnMut(&Tensor<2>)) -> Posterior {
        let side = x.dims()[2];
        let mut x = rows(x);
        for piece in self.pieces(side) {
            watch(&x);
            x = self.run(&self.layers, &piece, x, side);
        }
        self.posterior(&x, side)
    }

    fn posterior(&self, x: &Tensor<2>, side: usize) -> Posterior {
        let (c, inner) = (self.config.latent_channels, side / self.config.factor());
        let part = |first: usize| pictures(x.clone().narrow(1, first, c), inner);
        Posterior { mean: part(0), logvar: part(c).clamp(-30.0, 20.0) }
    }

    /// The gradient of the pictures that left this trail, given that of the posterior's mean, `[n, c, side, side]`, and of
    /// its logarithmic variance where that was used. Each piece is computed once more on a graph of its own, from the last
    /// to the first.
    ///
    /// # Panics
    /// When the gradient is not shaped like the latents, or the trail is of another encoder.
    pub fn encode_back(&self, mut trail: Trail, mean: Tensor<4>, logvar: Option<Tensor<4>>) -> Tensor<4> {
        let side = mean.dims()[2] * self.config.factor();
        let pieces = self.pieces(side);
        assert_eq!(trail.len(), pieces.len(), "the trail of another encoder");
        let logvar = logvar.unwrap_or_else(|| mean.zeros_like());
        let mut grad = Tensor::cat(vec![rows(mean), rows(logvar)], 1);
        // In float16 a small gradient would vanish on its way; it goes as if its largest value were 1.
        let size = self.layers.has_halves().then(|| grad.clone().abs().max().clamp_min(1e-30).reshape([1, 1]));
        if let Some(size) = &size {
            grad = grad / size.clone();
        }
        for piece in pieces.iter().rev() {
            let x = Tensor::from_inner(trail.pop().expect("an input of each piece")).require_grad();
            let y = self.run(&self.on_graph, piece, x.clone(), side);
            let grads = &mut (y * Tensor::from_inner(grad)).sum().backward();
            grad = x.grad_remove(grads).expect("each piece depends on what goes in");
        }
        if let Some(size) = size {
            grad = grad * size;
        }
        pictures(grad, side)
    }

    /// Pictures of latents that are not scaled, `[n, 3, side, side]`, about −1 to 1.
    pub fn decode(&self, z: Tensor<4>) -> Tensor<4> {
        let ([n, _, mut side, _], l) = (z.dims(), &self.layers);
        let (groups, levels) = (self.config.norm_num_groups, self.config.block_out_channels.len());
        let res = |name: String, x: Tensor<2>, side: usize| residual(l, &name, x, (n, side), None, (groups, EPS));
        let mut x = l.conv("decoder.conv_in", l.linear("post_quant_conv", rows(z)), side);
        x = res("decoder.mid_block.resnets.0".into(), x, side);
        x = self.attention(l, "decoder.mid_block.attentions.0", x, n);
        x = res("decoder.mid_block.resnets.1".into(), x, side);
        for i in 0..levels {
            for j in 0..=self.config.layers_per_block {
                x = res(format!("decoder.up_blocks.{i}.resnets.{j}"), x, side);
            }
            if i + 1 < levels {
                x = l.conv(&format!("decoder.up_blocks.{i}.upsamplers.0.conv"), double(x, side), 2 * side);
                side *= 2;
            }
        }
        let x = l.norm("decoder.conv_norm_out", x, Norm { views: n, groups, eps: EPS, silu: true });
        pictures(l.conv("decoder.conv_out", x, side), side)
    }
}
