//! Films are read back by other means: a walk over the boxes of the file, and a decoder.

use rusty_h264_decoder::Decoder;

use super::*;

/// The boxes in `bytes`: their names and what is in them.
fn boxes(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at + 8 <= bytes.len() {
        let size = number(bytes, at) as usize;
        assert!(size >= 8 && at + size <= bytes.len(), "a box of {size} at {at} of {}", bytes.len());
        found.push((String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned(), &bytes[at + 8..at + size]));
        at += size;
    }
    assert_eq!(at, bytes.len(), "something is left behind the last box");
    found
}

/// What is in the box that this way of names leads to.
fn inside<'a>(bytes: &'a [u8], way: &str) -> &'a [u8] {
    way.split('/').fold(bytes, |bytes, name| {
        boxes(bytes).iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name} of {way}")).1
    })
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The film as a stream of units with starts, from the boxes alone.
fn stream(film: &[u8]) -> Vec<u8> {
    let table = inside(film, "moov/trak/mdia/minf/stbl");
    let sizes = inside(table, "stsz");
    let offsets = inside(table, "stco");
    let entry = &inside(table, "stsd")[8..];
    let avc = inside(&boxes(entry)[0].1[78..], "avcC");
    let mut stream = Vec::new();
    let unit = |stream: &mut Vec<u8>, unit: &[u8]| {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(unit);
    };
    let sps = usize::from(u16::from_be_bytes([avc[6], avc[7]]));
    unit(&mut stream, &avc[8..8 + sps]);
    let pps = usize::from(u16::from_be_bytes([avc[9 + sps], avc[10 + sps]]));
    unit(&mut stream, &avc[11 + sps..11 + sps + pps]);
    // Samples of one chunk follow one another; with a chunk each they have an offset each.
    let (n, chunks) = (number(sizes, 8) as usize, number(offsets, 4) as usize);
    let mut at = number(offsets, 8) as usize;
    for i in 0..n {
        if chunks == n {
            at = number(offsets, 8 + 4 * i) as usize;
        }
        let (mut from, end) = (at, at + number(sizes, 12 + 4 * i) as usize);
        while from < end {
            let length = number(film, from) as usize;
            unit(&mut stream, &film[from + 4..from + 4 + length]);
            from += 4 + length;
        }
        at = end;
    }
    stream
}

/// Colours that move, so smooth that two by two pixels can share them.
fn picture(i: usize, width: usize, height: usize) -> Picture {
    let value = |at: usize| {
        let (x, y) = ((at / 3 % width) as f32 / width as f32, (at / 3 / width) as f32 / height as f32);
        0.5 + 0.45 * (1.2 * x + 0.8 * y * (1 + at % 3) as f32 + 0.2 * i as f32).sin()
    };
    Picture { width, height, rgb: (0..3 * width * height).map(value).collect() }
}

/// A decoded picture as red, green and blue, each colour for four pixels.
fn seen(frame: &YuvFrame) -> Vec<f32> {
    let (w, half) = (frame.width, frame.width / 2);
    let pixel = |at: usize| {
        let (x, y) = (at % w, at / w);
        let bright = (f32::from(frame.y[at]) - 16.0) / 219.0;
        let c = (y / 2) * half + x / 2;
        let blue = bright + 1.8556 * (f32::from(frame.u[c]) - 128.0) / 224.0;
        let red = bright + 1.5748 * (f32::from(frame.v[c]) - 128.0) / 224.0;
        [red, (bright - 0.2126 * red - 0.0722 * blue) / 0.7152, blue]
    };
    (0..w * frame.height).flat_map(pixel).collect()
}

fn cut(picture: &Picture, width: usize, height: usize) -> Vec<f32> {
    picture.rgb.chunks_exact(3 * picture.width).take(height).flat_map(|row| row[..3 * width].to_vec()).collect()
}

#[test]
fn a_film_holds_its_pictures() {
    for (size, shown) in [([64, 48], [64, 48]), ([51, 37], [50, 36])] {
        let pictures: Vec<Picture> = (0..30).map(|i| picture(i, size[0], size[1])).collect();
        let mut film = Film::new([shown[0] as u32, shown[1] as u32], 12.0).unwrap();
        pictures.iter().for_each(|picture| film.push(picture).unwrap());
        let film = film.finish().unwrap();

        let names: Vec<String> = boxes(&film).into_iter().map(|(name, _)| name).collect();
        assert_eq!((names[0].as_str(), names.contains(&"mdat".into())), ("ftyp", true), "{names:?}");
        let head = inside(&film, "moov/trak/tkhd");
        let side = |at: usize| number(head, head.len() - at) >> 16;
        assert_eq!([side(8), side(4)], shown.map(|side| side as u32));
        let table = inside(&film, "moov/trak/mdia/minf/stbl");
        assert_eq!(number(inside(table, "stsz"), 8), 30);
        let keys = inside(table, "stss");
        assert_eq!((number(keys, 4), number(keys, 8), number(keys, 12)), (2, 1, 25), "every two seconds");
        let media = inside(&film, "moov/trak/mdia/mdhd");
        let (scale, length) = (number(media, 12), number(media, 16));
        assert_eq!(f64::from(length) / f64::from(scale), 2.5, "30 pictures at 12 a second");

        let frames = Decoder::new().decode_stream(&stream(&film)).expect("a decoder reads it");
        assert_eq!(frames.len(), 30);
        let psnr = |i: usize, j: usize| {
            let wanted = cut(&pictures[j], shown[0], shown[1]);
            retort_fields::metrics::psnr(&seen(&frames[i]), &wanted).expect("of one size")
        };
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!([frame.width, frame.height], shown);
            assert!(psnr(i, i) > 35.0, "{size:?} {i}: {}", psnr(i, i));
        }
        assert!(psnr(3, 9) < 30.0, "another picture is another: {}", psnr(3, 9));
    }
}

#[test]
fn sizes_that_films_cannot_have_are_told() {
    let camera = |width, height| Camera::orbit(glam::Vec3::ZERO, 2.0, 0.3, 1, 0.7, [width, height]).remove(0);
    assert_eq!(size_of(&[camera(64, 48), camera(64, 48)]).unwrap(), ([64, 48], None));
    let (size, note) = size_of(&[camera(65, 49)]).unwrap();
    assert!(size == [64, 48] && note.is_some_and(|text| text.contains("65 x 49")));
    for cameras in [vec![], vec![camera(64, 48), camera(64, 50)], vec![camera(8, 48)], vec![camera(8192, 8192)]] {
        assert!(size_of(&cameras).is_err(), "{cameras:?}");
    }
    assert!(Film::new([64, 8], 24.0).is_err());
    let mut film = Film::new([64, 48], 24.0).unwrap();
    assert!(film.push(&picture(0, 63, 48)).is_err());
    assert_eq!(Place::folder(Path::new("a"), 2).files()[1], Path::new("a/view_001.png"));
    assert_eq!(Place::folder(Path::new("a"), 2000).files()[7], Path::new("a/view_0007.png"));
}
