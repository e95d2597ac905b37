// One network (Mildenhall et al. 2020). Twin of `kinds::mlp`.
// Constants: FREQUENCIES, LATENT, WAVES, LOG_LOW, LOG_HIGH.
#import volume
#import net_density
#import colour_head

// The clamped log-density at a warped position; keeps the latent for `colour`.
fn log_sigma(p: vec3f) -> f32 {
    var angle = p;
    for (var a = 0u; a < 3u; a++) {
        put_density(a, p[a]);
    }
    for (var k = 0u; k < FREQUENCIES; k++) {
        let s = sin(angle);
        let c = cos(angle);
        for (var a = 0u; a < 3u; a++) {
            put_density(3u + 6u * k + a, s[a]);
            put_density(6u + 6u * k + a, c[a]);
        }
        angle = angle + angle;
    }
    run_density();
    for (var k = 0u; k < LATENT; k++) {
        latent[k] = density_y[(k + 1u) >> 2u][(k + 1u) & 3u];
    }
    return clamp(density_y[0].x, LOG_LOW, LOG_HIGH);
}

// The colour in [0, 1] where `log_sigma` was asked last, seen along the unit direction `d`.
fn colour(d: vec3f) -> vec3f {
    return head_colour(d);
}
