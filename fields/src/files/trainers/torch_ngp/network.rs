//! PVD's deep network as an `mlp` field, of which it is the model: `γ(x)` with the octaves that the first layer's width
//! says, a trunk with biases that reads its input again, a density head and a colour network without.

use serde_json::json;

use super::{Model, PVD_RANGE, parts, volume, with};
use crate::error::{Error, Result};
use crate::files::trainers::assembly::{Layers, Parts, flat, hidden};

pub(super) fn read(model: &mut Model<'_, '_, '_>) -> Result<Parts> {
    let unknown = |what: String| Error::new(what).remedy("the file is damaged, or of a changed version of PVD");
    let depth = model.weights.run("nerf_mlp", 1, ".weight");
    let mut trunk = Layers::new();
    let mut skip = 0;
    for i in 0..depth {
        let name = format!("nerf_mlp.{i}");
        let matrix = model.weights.matrix(&format!("{name}.weight"))?;
        let bias = model.weights.take(&format!("{name}.bias"), &[matrix.rows])?;
        if let (Some((first, _)), Some((last, _))) = (trunk.first(), trunk.last()) {
            let (input, before) = (first.columns, last.rows);
            match matrix.columns {
                n if n == before => {}
                n if n == before + input && skip == 0 => skip = i,
                n => return Err(unknown(format!("\"{name}.weight\" sees {n} values, and {before} are given"))),
            }
        }
        trunk.push((matrix, bias));
    }
    let (input, inner) = trunk.first().map_or((0, 0), |(m, _)| (m.columns, m.rows));
    let same = trunk.iter().rev().skip(1).all(|(m, _)| m.rows == inner);
    if depth < 2 || input < 3 || (input - 3) % 6 != 0 || !same {
        return Err(unknown(format!("its deep network of {depth} layers sees {input} values in layers of {inner}")));
    }
    let bottleneck = trunk.last().map_or(0, |(m, _)| m.rows);
    let (head, latent) = model.sigma(bottleneck)?;
    let colour = model.colour(latent)?;
    let (sigma_hidden, colour_hidden) = (hidden(&head), hidden(&colour));
    model.notes.insert(0, "a deep network of PVD".into());
    model.notes.push("its log-density is clamped to -2 to 7, PVD's usual range".into());
    let bounds = model.cube();
    let (occupancy, cells) = model.occupancy(bounds)?;
    let config = json!({
        "kind": "mlp",
        "frequencies": (input - 3) / 6,
        "depth": depth,
        "width": inner,
        "skip": skip,
        "bottleneck": bottleneck,
        "sigma_hidden": sigma_hidden,
        "volume": with(volume(PVD_RANGE, cells), json!({ "latent": latent, "colour_hidden": colour_hidden })),
    });
    trunk.extend(head);
    let tensors = vec![flat("density_net", &trunk), flat("colour_net", &colour)];
    Ok(parts(bounds, config, tensors, occupancy, "PVD"))
}
