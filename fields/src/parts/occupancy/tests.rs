use super::*;
use crate::rng::Rng;

fn unit_box() -> Aabb {
    Aabb::new(Vec3::NEG_ONE, Vec3::ONE)
}

fn random_grid(resolution: u32, share: f32, seed: u64) -> Occupancy {
    let mut rng = Rng::new(seed, "grid");
    let words = (resolution as usize).pow(3) / 64;
    let bits: Vec<u64> =
        (0..words).map(|_| (0..64).fold(0, |w, _| w << 1 | u64::from(rng.uniform() < share))).collect();
    Occupancy::from_bits(resolution, unit_box(), &bits).expect("a valid grid")
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
}

#[test]
fn a_block_is_uniform_and_as_large_as_the_pyramid_can_tell() {
    for resolution in [8, 16, 64] {
        let grid = random_grid(resolution, 0.005, 1);
        let mut seen = [0; LEVELS];
        for cell in 0..grid.density.len() {
            let corner = grid.cell_corner(cell).as_uvec3();
            let block = grid.block(corner);
            assert_eq!(block.occupied, bit(grid.bits(), cell));
            let any = |level: u32| {
                let (side, low) = (1 << level, (corner >> level) << level);
                let inside = |i: u32| low + UVec3::new(i % side, i / side % side, i / side / side);
                (0..side * side * side).any(|i| grid.occupied_at(inside(i), 0))
            };
            seen[block.level as usize] += 1;
            if !block.occupied {
                assert!(!any(block.level));
                assert!(block.level + 1 == LEVELS as u32 || any(block.level + 1));
            }
        }
        assert!(seen.iter().all(|&n| n > 0) || resolution < 64, "{seen:?}");
    }
}

#[test]
fn points_are_found_in_their_cells() {
    let grid = random_grid(16, 0.3, 2);
    for cell in 0..grid.density.len() {
        assert_eq!(grid.contains(grid.cell_centre(cell)), bit(grid.bits(), cell));
        assert_eq!(grid.is_occupied(cell), bit(grid.bits(), cell));
    }
    let occupied: Vec<usize> = (0..grid.density.len()).filter(|&cell| bit(grid.bits(), cell)).collect();
    assert_eq!(grid.occupied().collect::<Vec<_>>(), occupied);
    assert!(occupied.len() > 1000 && occupied.len() < 1500, "some of 4096");
    let full = Occupancy::new_full(8, unit_box());
    assert!(full.contains(Vec3::ONE) && full.contains(Vec3::NEG_ONE) && !full.contains(Vec3::splat(1.001)));
    assert!(!full.contains(Vec3::new(f32::NAN, 0.0, 0.0)));
    assert_eq!(full.occupied_fraction(), 1.0);
}

#[test]
fn updates_decay_once_and_the_threshold_is_the_lesser_of_limit_and_mean() {
    let mut grid = Occupancy::new_full(8, unit_box());
    assert_eq!(grid.threshold(0.01), 0.0);
    assert_eq!(grid.occupied_fraction(), 0.0);
    grid.update(0.5, &[3, 9], &[0.8, 0.4]);
    grid.update(0.5, &[3, 3, 3], &[0.1, 0.2, f32::NAN]);
    assert_eq!(grid.density[3], 0.4);
    assert_eq!(grid.density[9], 0.4);
    // Mean 0.8 / 512 is below the limit.
    assert!((grid.threshold(0.01) - 0.8 / 512.0).abs() < 1e-8);
    assert_eq!(grid.occupied_fraction(), 2.0 / 512.0);
    grid.update(0.5, &(0..512).collect::<Vec<_>>(), &vec![f32::INFINITY; 512]);
    assert_eq!(grid.threshold(0.01), 0.01);
    assert_eq!(grid.occupied_fraction(), 1.0);
    let shares: Vec<_> = [1, 2].map(|n| pool(n).install(|| random_grid(64, 0.1, 3).threshold(9.0))).to_vec();
    assert_eq!(shares[0].to_bits(), shares[1].to_bits());
}

#[test]
fn dilation_reaches_exactly_the_neighbours() {
    let mut grid = random_grid(16, 0.01, 4);
    let before = grid.clone();
    grid.exclude(|low, _| low.x < -0.99 && low.y < -0.99);
    grid.dilate();
    for cell in 0..grid.density.len() {
        let at = grid.cell_corner(cell).as_ivec3();
        let neighbour = (0..27).any(|i| {
            let n = at + glam::IVec3::new(i % 3 - 1, i / 3 % 3 - 1, i / 9 - 1);
            let inside = n.min_element() >= 0 && n.max_element() < 16;
            inside && !(n.x == 0 && n.y == 0) && before.occupied_at(n.as_uvec3(), 0)
        });
        let excluded = at.x == 0 && at.y == 0;
        assert_eq!(bit(grid.bits(), cell), neighbour && !excluded, "{at}");
    }
    assert!(grid.occupied_fraction() > before.occupied_fraction());
}

#[test]
fn corners_outside_the_ball_are_never_occupied_nor_refreshed() {
    let mut grid = Occupancy::new_full(32, Aabb::new(Vec3::splat(-2.0), Vec3::splat(2.0)));
    grid.exclude_outside_ball(2.0);
    let share = grid.occupied_fraction();
    assert!((0.52..0.62).contains(&share), "the ball is 0.524 of its box, with its shell more: {share}");
    assert!(!grid.contains(Vec3::splat(1.9)) && grid.contains(Vec3::new(1.99, 0.0, 0.0)));
    for warm_up in [true, false] {
        let (cells, _) = grid.refresh_points(&mut Rng::new(1, "refresh"), warm_up);
        assert!(!cells.is_empty() && cells.iter().all(|&c| grid.density[c as usize] >= 0.0));
    }
    let all: Vec<u32> = (0..32 * 32 * 32).collect();
    grid.update(0.95, &all, &vec![1.0; all.len()]);
    assert!((grid.threshold(10.0) - 1.0).abs() < 1e-6);
    assert_eq!(grid.occupied_fraction(), 0.0, "nothing exceeds the mean where all are equal");
}

#[test]
fn refresh_points_lie_in_their_cells_and_follow_the_rule() {
    let grid = random_grid(32, 0.02, 5);
    let points = |seed, warm_up| grid.refresh_points(&mut Rng::new(seed, "refresh"), warm_up);
    let all = points(7, true);
    assert_eq!(all.0, (0..32 * 32 * 32).collect::<Vec<u32>>());
    let part = points(1, false);
    assert_eq!(part.0.len(), 32 * 32 * 32 / 2);
    for (cells, position) in [&all, &part] {
        assert_eq!(3 * cells.len(), position.len());
        for (&cell, p) in cells.iter().zip(position.chunks_exact(3)) {
            let away = (Vec3::from_slice(p) - grid.cell_centre(cell as usize)).abs().max_element();
            assert!(away <= 1.0 / 32.0 + 1e-6, "{away}");
        }
    }
    let (anywhere, occupied) = part.0.split_at(32 * 32 * 32 / 4);
    let share =
        |cells: &[u32]| cells.iter().filter(|&&c| bit(grid.bits(), c as usize)).count() as f32 / cells.len() as f32;
    assert_eq!(share(occupied), 1.0);
    assert!(share(anywhere) < 0.05, "{}", share(anywhere));
    let distinct: std::collections::BTreeSet<_> = occupied.iter().collect();
    assert!(
        distinct.len() as f32 > 0.99 * grid.occupied_fraction() * 32_f32.powi(3),
        "every occupied cell has its turn"
    );
    assert_ne!(part, points(2, false));
    for threads in [1, 2] {
        assert_eq!(part, pool(threads).install(|| points(1, false)));
    }
    let empty = Occupancy::new_empty(8, unit_box());
    assert_eq!(empty.refresh_points_of(&mut Rng::new(0, "refresh"), 10, 10).0.len(), 10);
}

#[test]
fn marking_occupies_what_lies_in_the_box_and_keeps_the_pyramid() {
    let mut grid = Occupancy::new_empty(16, unit_box());
    let (middle, radius) = (Vec3::new(0.4, -0.2, 0.9), 0.35);
    let ball = |p: Vec3| p.distance(middle) < radius;
    grid.mark(middle - radius, middle + radius, ball);
    for cell in 0..grid.density.len() {
        assert_eq!(bit(grid.bits(), cell), ball(grid.cell_centre(cell)));
    }
    assert_eq!(Occupancy::from_bits(16, unit_box(), grid.bits()).expect("our own bits"), grid);
    let before = grid.clone();
    grid.mark(Vec3::splat(1.5), Vec3::splat(2.0), |_| true);
    grid.mark(Vec3::splat(-3.0), Vec3::splat(-1.5), |_| true);
    grid.mark(Vec3::NAN, Vec3::ONE, |_| true);
    assert_eq!(grid, before);
    grid.mark(Vec3::splat(-9.0), Vec3::splat(9.0), |_| true);
    assert_eq!(grid.occupied_fraction(), 1.0);
}

#[test]
fn bytes_come_back_as_the_same_grid() {
    let mut grid = random_grid(16, 0.2, 6);
    grid.update(0.9, &[1, 2, 3], &[0.3, 0.2, 0.1]);
    grid.exclude(|low, _| low.z > 0.8);
    assert_eq!(Occupancy::from_bytes(&grid.to_bytes(), unit_box()).expect("our own bytes"), grid);
    let short = grid.to_bytes_compact();
    assert_eq!(short.len(), 44 + 512);
    let read = Occupancy::from_bytes(&short, unit_box()).expect("our own bytes");
    assert_eq!((read.bits(), read.bounds()), (grid.bits(), grid.bounds()));
}

#[test]
fn damaged_bytes_are_refused() {
    let good = random_grid(8, 0.2, 7).to_bytes();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert!(Occupancy::from_bytes(&bytes, unit_box()).is_err());
    };
    refused(&|b| b.clear());
    refused(&|b| b.truncate(b.len() - 1));
    refused(&|b| b.push(0));
    refused(&|b| b[0] = 0);
    refused(&|b| b[8] = 9);
    refused(&|b| b[12] = 7);
    refused(&|b| b[12..16].copy_from_slice(&512_u32.to_le_bytes()));
    refused(&|b| b[12..16].copy_from_slice(&u32::MAX.to_le_bytes()));
    refused(&|b| b[20..24].copy_from_slice(&f32::NAN.to_le_bytes()));
    refused(&|b| b[20..24].copy_from_slice(&5.0_f32.to_le_bytes()));
    let end = good.len() - 4;
    refused(&|b| b[end..].copy_from_slice(&f32::NAN.to_le_bytes()));
    refused(&|b| b[end..].copy_from_slice(&(-0.5_f32).to_le_bytes()));
    assert!(Occupancy::from_bytes(&good, unit_box()).is_ok());
    assert!(Occupancy::from_bits(8, unit_box(), &[0; 7]).is_err());
    assert!(Occupancy::from_bytes(&good, Aabb::new(Vec3::ZERO, Vec3::ONE)).is_err());
    assert!(Occupancy::check(48, unit_box()).is_err() && Occupancy::check(1024, unit_box()).is_err());
    assert!(Occupancy::check(64, Aabb::new(Vec3::ONE, Vec3::ONE)).is_err() && Occupancy::check(64, unit_box()).is_ok());
}
