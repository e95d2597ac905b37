use std::io::Cursor;

use super::super::finite::tests::{Apart, apart};
use super::super::gaussians::tests::sample;
use super::*;
use crate::rng::Rng;

fn written(splats: &Splats, version: u32) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    write_version(splats, version, &mut out).expect("written");
    out.into_inner()
}

fn read(bytes: &[u8]) -> Result<Splats> {
    Spz.read(&mut Source::memory(bytes))
}

/// Half of each step. Two steps meet in a coefficient: to 8 bits, then to its bucket.
fn within(apart: &Apart, version: u32) -> bool {
    let slack = 1.0001;
    // What is left out of a quaternion is a root, which is steep near 0: three components of 8 bits leave it at 0.1.
    let rotation = if version < 3 { 0.12 } else { 0.002 };
    apart.means <= slack * 0.5 / 4096.0
        && apart.log_scales <= slack * 0.5 / 16.0
        && apart.rotations <= rotation
        && apart.opacity <= slack * 0.5 / 255.0
        && apart.sh_dc <= slack * 0.5 / (0.15 * 255.0)
        && apart.bands[0] <= slack * 4.5 / 128.0
        && apart.bands[1].max(apart.bands[2]) <= slack * 8.5 / 128.0
}

#[test]
fn a_round_trip_is_as_close_as_the_bits_allow() {
    for version in [2, 3, 4] {
        for degree in 0..=3 {
            let splats = Splats { antialias: degree == 2, ..sample(300, degree) };
            let bytes = written(&splats, version);
            assert!(Spz.recognises(&bytes[..bytes.len().min(4096)]));
            let back = read(&bytes).expect("read");
            assert_eq!(back.antialias, splats.antialias);
            assert!(within(&apart(&splats, &back), version), "{version}, {degree}: {:?}", apart(&splats, &back));
            let about = Spz.peek(&mut Source::memory(&bytes)).expect("peeked");
            assert_eq!((about.count, about.sh_degree), (300, degree));
            assert_eq!(about.variant, format!("version {version}"));
            // The negative controls: one step more, and a turn left out.
            let mut off = back.clone();
            off.means[7][1] += 1.0 / 4096.0;
            assert!(!within(&apart(&splats, &off), version));
            let mut off = back;
            super::super::flip_yz(&mut off);
            assert!(!within(&apart(&splats, &off), version));
        }
    }
}

#[test]
fn writing_what_was_read_changes_nothing() {
    for version in [2, 3, 4] {
        let bytes = written(&sample(100, 3), version);
        let splats = read(&bytes).expect("read");
        let again = read(&written(&splats, version)).expect("read");
        // A third rotation component of two equals may swap the one that is left out.
        assert!(apart(&splats, &again).all_within(if version < 3 { 0.12 } else { 0.002 }));
        assert_eq!((splats.means, splats.sh_rest, splats.sh_dc), (again.means, again.sh_rest, again.sh_dc));
        assert_eq!(splats.raw_opacity, again.raw_opacity);
    }
    assert_eq!(written(&sample(100, 3), 4), written(&sample(100, 3), 4));
}

/// One Gaussian, byte by byte as the format's text has it.
#[test]
fn bytes_mean_what_the_text_says() {
    let mut plain = b"NGSP\x03\0\0\0\x01\0\0\0\x00\x08\x01\0".to_vec();
    plain.extend([0x80, 0x01, 0, 0x00, 0xff, 0xff, 0x00, 0x00, 0x01]); // 1.5, −1, 256 in eighths of eight bits
    plain.extend([51, 0, 128, 255, 160, 176, 144]);
    // w is largest (index 3); x 0, y −, z.
    plain.extend(((3_u32 << 30) + ((512 + 511) << 10) + 300).to_le_bytes());
    let splats = read(&plain).expect("read");
    assert_eq!(splats.means[0], [1.5, 1.0, -256.0]);
    assert!((splats.raw_opacity[0] - (0.2_f32 / 0.8).ln()).abs() < 1e-5);
    assert_eq!(splats.log_scales[0], [0.0, 1.0, -1.0]);
    assert!((splats.sh_dc[0][2] - 0.5 / 0.15).abs() < 1e-5 && (splats.sh_dc[0][0] + 0.5 / 0.15).abs() < 1e-5);
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let z = half * 300.0 / 511.0;
    let want = [(0.5 - z * z).sqrt(), 0.0, half, -z];
    assert!(splats.rotations[0].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", splats.rotations);
    assert!(splats.antialias);
    // The first version had half floats, and three bytes for a rotation.
    let mut first = b"NGSP\x01\0\0\0\x01\0\0\0\x00\x00\0\0".to_vec();
    first.extend([0x00, 0x3e, 0x00, 0x3c, 0x00, 0xc0, 51, 0, 128, 255, 160, 176, 144, 255, 128, 128]);
    let old = read(&first).expect("read");
    assert_eq!(old.means[0], [1.5, -1.0, 2.0]);
    assert!((old.rotations[0][1] - 1.0).abs() < 1e-4, "{:?}", old.rotations);
}

#[test]
fn positions_get_the_bits_that_they_need() {
    for (size, step) in [(1.5_f32, 1.0 / 4096.0), (1.9e-3, 1.0 / 4096.0 / 512.0), (6e5, 0.125), (8e6, 1.0)] {
        let mut splats = sample(50, 0);
        splats.means.iter_mut().flatten().for_each(|v| *v *= size / 2.0);
        let back = read(&written(&splats, 4)).expect("read");
        assert!(apart(&splats, &back).means <= 0.5001 * step, "{size}: {}", apart(&splats, &back).means);
    }
    let mut far = sample(5, 0);
    far.means[3][1] = 1e7;
    let refused = write_version(&far, 4, &mut Cursor::new(Vec::new()));
    assert!(refused.is_err_and(|e| e.what.contains("10000000 away")));
}

#[test]
fn a_fourth_band_is_left_out_with_a_note() {
    let splats = sample(40, 3);
    let (shape, mut blocks) = packed::packed(&splats, 3).expect("packed");
    let rows = blocks[5].chunks_exact(45).flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(7, 27)));
    blocks[5] = rows.collect();
    let mut plain = b"NGSP\x03\0\0\0\x28\0\0\0\x04\x0c\0\0".to_vec();
    blocks.iter().for_each(|block| plain.extend(block));
    let back = read(&plain).expect("read");
    assert_eq!((shape.fraction, back.sh_degree, back.notes.len()), (12, 3, 1));
    assert!(within(&apart(&splats, &back), 3));
}

#[test]
fn records_of_vendors_are_skipped() {
    let splats = sample(30, 1);
    let bytes = written(&splats, 4);
    let mut with = bytes[..32].to_vec();
    with[14] |= 2;
    with[16] = 32 + 20;
    with.extend([0xad; 20]);
    with.extend(&bytes[32..]);
    let with = read(&with).expect("read");
    assert_eq!(with.notes.len(), 1);
    assert_eq!(Splats { notes: Vec::new(), ..with }, read(&bytes).expect("read"));
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    for version in [2, 3, 4] {
        let bytes = written(&sample(20, 2), version);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "version {version}, {length} of {} bytes", bytes.len());
        }
        assert!(read(&bytes).is_ok());
    }
}

#[test]
fn counts_and_sizes_that_lie_are_refused_before_memory_is_taken() {
    let bytes = written(&sample(20, 2), 4);
    let lie = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        read(&bytes).expect_err("refused").what
    };
    assert!(lie(8, &u32::MAX.to_le_bytes()).contains("4294967295 Gaussians"));
    assert!(lie(8, &0_u32.to_le_bytes()).contains("no Gaussians"));
    assert!(lie(8, &21_u32.to_le_bytes()).contains("the stream of positions"));
    assert!(lie(4, &5_u32.to_le_bytes()).contains("version 5"));
    assert!(lie(12, &[3]).contains("the stream of harmonics"));
    assert!(lie(12, &[9]).contains("degree 9"));
    assert!(lie(15, &[5]).contains("5 streams"));
    assert!(lie(16, &u32::MAX.to_le_bytes()).contains("its table"));
    assert!(lie(16, &8_u32.to_le_bytes()).contains("its table"));
    assert!(lie(32, &u64::MAX.to_le_bytes()).contains("cut short"));
    assert!(lie(32, &(u64::MAX / 2).to_le_bytes()).contains("cut short"));
    assert!(lie(40, &u64::MAX.to_le_bytes()).contains("the stream of positions"));
}

#[test]
fn bombs_do_not_go_off() {
    // Zeros without end in gzip, with a count that asks for them.
    let mut head = b"NGSP\x03\0\0\0".to_vec();
    head.extend(40_000_000_u32.to_le_bytes());
    head.extend([0, 12, 0, 0]);
    head.resize(4 << 20, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &head).expect("packed");
    let bomb = gzip.finish().expect("packed");
    assert!(read(&bomb).is_err_and(|e| e.what.contains("40000000 Gaussians")));
    // A zstd stream that unpacks to more than its block.
    let bytes = written(&sample(20, 0), 4);
    let big = zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("packed");
    let mut bomb = bytes[..32].to_vec();
    bomb.extend((big.len() as u64).to_le_bytes());
    bomb.extend(&bytes[40..32 + 5 * 16]);
    bomb.extend(&big);
    let first = u64::from_le_bytes(bytes[32..40].try_into().expect("eight")) as usize;
    bomb.extend(&bytes[32 + 5 * 16 + first..]);
    assert!(read(&bomb).is_err_and(|e| e.what.contains("cannot be unpacked")));
}

#[test]
fn what_is_no_number_is_refused() {
    let mut splats = sample(3, 0);
    splats.sh_dc[1][0] = f32::NAN;
    assert!(write_version(&splats, 4, &mut Cursor::new(Vec::new())).is_err());
    let mut first = b"NGSP\x01\0\0\0\x01\0\0\0\x00\x00\0\0".to_vec();
    first.extend([0x00, 0x7e, 0x00, 0x3c, 0x00, 0xc0, 51, 0, 128, 255, 160, 176, 144, 255, 128, 128]);
    assert!(read(&first).is_err_and(|e| e.what.contains("the centre of Gaussian 0")));
}

#[test]
fn flipped_bytes_give_errors_or_gaussians() {
    let mut rng = Rng::new(3, "flipped bytes of spz");
    let mut fine = 0;
    for version in [2, 3, 4] {
        let bytes = written(&sample(20, 1), version);
        for _ in 0..1500 {
            let mut bytes = bytes.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.next_u32() as u8;
            }
            fine += usize::from(read(&bytes).is_ok());
            let _ = Spz.peek(&mut Source::memory(&bytes));
        }
    }
    assert!(fine < 3000, "{fine} of 4500 went unnoticed");
    assert!(!Spz.recognises(b"\x1f\x8b\x08\0") && !Spz.recognises(b"PLY") && !Spz.recognises(b""));
}
