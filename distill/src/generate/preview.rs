//! What a prior itself draws of a prompt, before a field is asked to look like it: it shows in seconds what the words mean
//! to it, and whether they mean anything.

use burn::tensor::{Device, Tensor};
use retort_fields::error::Result;
use retort_fields::rng::Rng;

use super::pictures::{over, sight};
use crate::guidance::{classifier_free, normals};
use crate::prior::{Asked, Prior, Prompt, Text};
use crate::task::Sight;

/// One ring of views (one picture of a model of single pictures) by the prior's own sampler in `steps` steps, guided by
/// `scale`.
///
/// # Errors
/// Not with priors as they are; a sampler may ask for what cannot be had.
pub fn preview(
    prior: &dyn Prior,
    prompt: Prompt,
    (steps, scale): (u32, f32),
    seed: u64,
    device: &Device,
) -> Result<Sight> {
    let mut rng = Rng::new(seed, "preview");
    let looks = prior.looks(1, &mut rng);
    let side = prior.side() as usize;
    let channels = if prior.sees_alpha() { 4 } else { 3 };
    // An empty picture says how large its latents are.
    let empty = Tensor::zeros([looks.len(), channels, side, side], device);
    let start = normals(prior.encode(empty).dims(), device, &mut rng);
    let latents = prior.plan(steps).run(prior.noise(), start, |z, t| {
        let n = z.dims()[0];
        let seen = prior.epsilon(Asked {
            noisy: Tensor::cat(vec![z.clone(), z], 0),
            times: &[t, t],
            texts: &[Text::Of(prompt), Text::Nothing],
            looks: &[looks.as_slice(), &looks].concat(),
            posed: true,
        });
        Ok(classifier_free(&seen.clone().narrow(0, 0, n), seen.narrow(0, n, n), scale))
    })?;
    let pictures = prior.decode(latents);
    let pictures = if channels == 4 { over(pictures, [1.0; 3]) } else { pictures };
    Ok(sight("preview", pictures))
}
