// The colour network that kinds with a latent share: rgb = sigmoid(colour_net([latent, what is seen of d])).
// Twin of `VolumeCore::colour`. A kind fills `latent`; LATENT and WAVES come with it.
#import sh
#import net_colour

var<private> latent: array<f32, LATENT>;

fn head_colour(d: vec3f) -> vec3f {
    for (var k = 0u; k < LATENT; k++) {
        put_colour(k, latent[k]);
    }
    if WAVES == 1u {
        put_waves(d);
    } else {
        let basis = sh_basis(d);
        for (var k = 0u; k < 16u; k++) {
            put_colour(LATENT + k, basis[k]);
        }
    }
    run_colour();
    return colour_y[0].xyz;
}

// [x, d, sin x, cos x, sin 2x, cos 2x, sin d, cos d, sin 2d, cos 2d] of the latent x (TensoRF).
fn put_waves(d: vec3f) {
    for (var k = 0u; k < 3u; k++) {
        put_colour(LATENT + k, d[k]);
    }
    let first = LATENT + 3u;
    for (var k = 0u; k < LATENT; k++) {
        put_colour(first + k, sin(latent[k]));
        put_colour(first + LATENT + k, cos(latent[k]));
        put_colour(first + 2u * LATENT + k, sin(2.0 * latent[k]));
        put_colour(first + 3u * LATENT + k, cos(2.0 * latent[k]));
    }
    let then = first + 4u * LATENT;
    for (var k = 0u; k < 3u; k++) {
        put_colour(then + k, sin(d[k]));
        put_colour(then + 3u + k, cos(d[k]));
        put_colour(then + 6u + k, sin(2.0 * d[k]));
        put_colour(then + 9u + k, cos(2.0 * d[k]));
    }
}
