//! Density control on scenes of a few Gaussians whose fate is known.

use super::*;

/// Gaussians with these scales and opacities in a row, and statistics with these mean gradients.
struct Case {
    means: Vec<f32>,
    log_scales: Vec<f32>,
    rotations: Vec<f32>,
    raw_opacity: Vec<f32>,
    stats: DensityStats,
}

const SMALL: f32 = 0.005;
const LARGE: f32 = 0.05;
const HUGE: f32 = 0.5;
const PULLED: f32 = 3e-4;

fn case(rows: &[(f32, f32, f32)]) -> Case {
    let n = rows.len();
    let mut stats = DensityStats::new(n);
    for (i, &(_, _, grad)) in rows.iter().enumerate() {
        stats.grad_sum[i] = grad * 4.0;
        stats.count[i] = 4;
    }
    Case {
        means: (0..n * 3).map(|i| i as f32).collect(),
        log_scales: rows.iter().flat_map(|r| [r.0.ln(), (r.0 * 0.5).ln(), (r.0 * 0.25).ln()]).collect(),
        rotations: rows.iter().flat_map(|_| [2.0, 0.0, 0.0, 2.0]).collect(),
        raw_opacity: rows.iter().map(|r| (r.1 / (1.0 - r.1)).ln()).collect(),
        stats,
    }
}

impl Case {
    fn plan(&self, config: &DensityConfig, step: u32) -> Plan {
        let params = SplatParams {
            means: &self.means,
            log_scales: &self.log_scales,
            rotations: &self.rotations,
            raw_opacity: &self.raw_opacity,
            sh_dc: &[],
            sh_rest: &[],
        };
        plan(config, step, &self.stats, &params, 1.0, &mut Rng::new(1, "density"))
    }
}

#[test]
fn small_ones_are_cloned_large_ones_split_faint_ones_go() {
    let case = case(&[
        (SMALL, 0.5, 0.0),
        (SMALL, 0.5, PULLED),
        (LARGE, 0.5, PULLED),
        (SMALL, 0.004, PULLED),
        (LARGE, 0.5, 0.0),
    ]);
    let plan = case.plan(&DensityConfig::default(), 600);
    assert_eq!(plan.rows.sources, [0, 1, 4, 1, 2, 2]);
    assert_eq!(plan.rows.fresh, [false, false, false, true, true, true]);
    assert_eq!(plan.counts, [1, 1, 1]);
    assert_eq!(plan.edits.iter().map(|e| e.row).collect::<Vec<_>>(), [4, 5]);
    for edit in &plan.edits {
        for k in 0..3 {
            assert!((edit.log_scale[k] - (case.log_scales[6 + k] - 1.6_f32.ln())).abs() < 1e-6);
            assert!((edit.mean[k] - case.means[6 + k]).abs() < 5.0 * LARGE);
        }
    }
    assert_ne!(plan.edits[0].mean, plan.edits[1].mean);
    assert_eq!(plan, case.plan(&DensityConfig::default(), 600), "the same seed gives the same plan");
}

#[test]
fn parameters_and_state_follow_the_same_rows() {
    let case = case(&[(LARGE, 0.5, PULLED), (SMALL, 0.5, PULLED)]);
    let plan = case.plan(&DensityConfig::default(), 600);
    assert_eq!(plan.rows.sources, [1, 1, 0, 0]);
    let mut means = plan.rows.gather(&case.means, 3);
    let mut log_scales = plan.rows.gather(&case.log_scales, 3);
    assert_eq!(means[..6], [3.0, 4.0, 5.0, 3.0, 4.0, 5.0]);
    plan.edit(&mut means, &mut log_scales);
    assert_eq!(means[..6], [3.0, 4.0, 5.0, 3.0, 4.0, 5.0]);
    assert_eq!(means[6..9], plan.edits[0].mean);
    assert_eq!(log_scales[9..], plan.edits[1].log_scale);
    assert_eq!(plan.rows.gather_state(&[1.0, 2.0, 3.0, 4.0], 2), [3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

/// Children are spread as the parent is: along the longest axis, which a quarter turn about z takes from x to y.
#[test]
fn children_are_drawn_from_the_parent() {
    let mut case = case(&[(HUGE, 0.5, PULLED)]);
    case.means.fill(0.0);
    let config = DensityConfig { split_into: 4000, ..DensityConfig::default() };
    let plan = case.plan(&config, 600);
    let spread = |k: usize| (plan.edits.iter().map(|e| e.mean[k] * e.mean[k]).sum::<f32>() / 4000.0).sqrt();
    for (k, expected) in [HUGE * 0.5, HUGE, HUGE * 0.25].into_iter().enumerate() {
        assert!((spread(k) / expected - 1.0).abs() < 0.05, "axis {k}: {} is not {expected}", spread(k));
    }
}

#[test]
fn oversized_ones_go_after_the_first_reset_only() {
    let mut case = case(&[(HUGE, 0.5, 0.0), (SMALL, 0.5, 0.0), (0.12, 0.5, PULLED)]);
    case.stats.max_radius[1] = 21.0;
    let config = DensityConfig::default();
    assert_eq!(case.plan(&config, 3000).rows.sources, [0, 1, 2, 2]);
    assert_eq!(case.plan(&config, 3100).rows.sources, [2, 2], "the children are small enough");
    let lenient = DensityConfig { prune_screen: 0.0, prune_world: 0.0, ..config };
    assert_eq!(case.plan(&lenient, 3100).rows.sources, [0, 1, 2, 2]);
}

#[test]
fn room_goes_to_the_largest_gradients() {
    let rows = [(SMALL, 0.5, PULLED), (LARGE, 0.5, 4.0 * PULLED), (SMALL, 0.5, 2.0 * PULLED), (SMALL, 0.5, PULLED)];
    let with = |max_gaussians| {
        case(&rows).plan(&DensityConfig { max_gaussians, ..DensityConfig::default() }, 600).rows.sources
    };
    assert_eq!(with(0).len(), 8);
    assert_eq!(with(4), [0, 1, 2, 3]);
    assert_eq!(with(5), [0, 2, 3, 1, 1]);
    assert_eq!(with(6), [0, 2, 3, 2, 1, 1]);
    assert_eq!(with(7), [0, 2, 3, 0, 2, 1, 1]);
    assert_eq!(with(1), [0, 1, 2, 3], "a limit removes none");
}

#[test]
fn numbers_that_are_none_go() {
    let mut case = case(&[(SMALL, 0.5, PULLED); 5]);
    case.raw_opacity[0] = f32::NAN;
    case.means[3] = f32::INFINITY;
    case.log_scales[8] = f32::NAN;
    case.stats.grad_sum[3] = f32::NAN;
    assert_eq!(case.plan(&DensityConfig::default(), 600).rows.sources, [3, 4, 4]);
}

#[test]
fn gradients_are_measured_in_device_coordinates_where_visible() {
    let mut stats = DensityStats::new(3);
    stats.add(&[3e-6, 0.0, 1.0, 1.0, 3e-6, 4e-6], &[2.0, 0.0, 5.0], 200, 200);
    stats.add(&[0.0, 1e-6, 0.0, 0.0, 0.0, 0.0], &[4.0, 0.0, 1.0], 400, 100);
    assert_eq!(stats.count, [2, 0, 2]);
    assert_eq!(stats.max_radius, [4.0, 0.0, 5.0]);
    for (i, expected) in [1.75e-4, 0.0, 2.5e-4].into_iter().enumerate() {
        assert!((stats.mean_grad(i) - expected).abs() < 1e-9);
    }
}

#[test]
fn the_schedule_is_the_published_one() {
    let config = DensityConfig::default();
    let steps = |f: &dyn Fn(u32) -> bool| (1..=30_000).filter(|s| f(*s)).collect::<Vec<_>>();
    let changes = steps(&|s| config.changes(s));
    assert_eq!((changes[0], changes.len(), changes.last()), (600, 144, Some(&14_900)));
    assert_eq!(steps(&|s| config.resets(s)), [3000, 6000, 9000, 12_000]);
    let never = DensityConfig { every: 0, opacity_reset_every: 0, ..config };
    assert!(steps(&|s| never.changes(s) || never.resets(s) || never.gathers(s)).is_empty());
}

#[test]
fn opacity_is_lowered_and_never_raised() {
    let mut raw = [3.0, -9.0, 0.0];
    reset_opacity(&mut raw, 0.01);
    assert!((raw[0] + 4.595_12).abs() < 1e-4);
    assert_eq!(raw[0].to_bits(), raw[2].to_bits());
    assert_eq!(raw[1].to_bits(), (-9.0_f32).to_bits());
}

#[test]
fn a_misspelt_key_is_refused() {
    let config: DensityConfig = serde_json::from_str(r#"{"until": 7, "max_gaussians": 9}"#).unwrap();
    assert_eq!(config, DensityConfig { until: 7, max_gaussians: 9, ..DensityConfig::default() });
    assert!(serde_json::from_str::<DensityConfig>(r#"{"untill": 7}"#).is_err());
}
