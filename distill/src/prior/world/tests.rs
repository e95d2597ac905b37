//! Words, prompts and the pictures of what they mean.

use glam::Vec3;
use retort_fields::rng::Rng;

use super::corpus::{
    Combinations::{HeldOut, Taught},
    PICTURES, describe, examples, held_out,
};
use super::picture::{camera, picture};
use super::prompt::{LONGEST, understand};
use super::things::{Paint, model};
use super::words::{COLOURS, PATTERNS, SHAPES, SIZES, THINGS, colour_called, thing};
use super::{Description, Relation, Thing, build};

fn read(prompt: &str) -> Description {
    understand(prompt).unwrap_or_else(|e| panic!("{prompt}: {e}")).description
}

fn coloured(name: &str, colour: &str) -> Thing {
    Thing { colour: colour_called(colour), ..Thing::plain(thing(name).expect("a thing")) }
}

#[test]
fn every_word_means_something_of_its_own() {
    let mut all: Vec<&str> = Vec::new();
    let words = THINGS.iter().chain(COLOURS.iter().map(|c| &c.word)).chain(PATTERNS).chain(SIZES);
    for word in words {
        all.push(word.name);
        all.extend(word.others);
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "a word stands twice");
    for word in THINGS {
        let model = model(word.name).unwrap_or_else(|| panic!("nobody built {}", word.name));
        assert!(!model.parts.is_empty() && colour_called(model.natural).is_some(), "{}", word.name);
        assert!(model.parts.iter().any(|p| p.paint == Paint::Main), "{} has nothing to colour", word.name);
        for part in &model.parts {
            assert!(!matches!(part.paint, Paint::Of(name) if colour_called(name).is_none()), "{}", word.name);
        }
    }
    assert!(SHAPES >= 12 && THINGS.len() - SHAPES >= 20 && COLOURS.len() >= 12 && PATTERNS.len() >= 4);
}

#[test]
fn prompts_are_understood_in_any_order() {
    let on =
        Description { first: coloured("mushroom", "red"), second: Some((Relation::On, coloured("table", "green"))) };
    for prompt in [
        "a red mushroom on a green table",
        "on a green table, a red mushroom",
        "a green table with a red mushroom on it",
        "a green table under a red mushroom",
        "A CRIMSON toadstool on top of the green desk!",
        "a mushroom that is red standing on a table that is green",
        "the mushroom, painted red, on the green tables",
    ] {
        assert_eq!(read(prompt), on, "{prompt}");
    }
    let beside =
        Description { first: coloured("cube", "blue"), second: Some((Relation::RightOf, coloured("ball", "yellow"))) };
    for prompt in [
        "a blue cube to the right of a yellow ball",
        "a yellow sphere left of a blue box",
        "a yellow ball next to a blue cube",
        "a yellow ball and a blue cube",
        "a yellow ball beside a blue cube",
    ] {
        assert_eq!(read(prompt), beside, "{prompt}");
    }
    let before = Description {
        first: Thing::plain(thing("dog").unwrap()),
        second: Some((Relation::InFrontOf, Thing::plain(thing("house").unwrap()))),
    };
    for prompt in ["a dog in front of a house", "a house behind a puppy"] {
        assert_eq!(read(prompt), before, "{prompt}");
    }
}

#[test]
fn patterns_sizes_and_synonyms_are_understood() {
    let [striped, halves] = ["striped", "two-tone"].map(|n| PATTERNS.iter().position(|p| p.name == n).unwrap());
    let [red, white, black] = ["red", "white", "black"].map(|c| colour_called(c).unwrap());
    assert_eq!(read("a red and white striped ball").first.pattern, Some((striped, white)));
    assert_eq!(read("a striped red ball").first.pattern, Some((striped, white)));
    assert_eq!(read("a striped white ball").first.pattern, Some((striped, black)));
    assert_eq!(
        read("a red and white ball").first,
        Thing { colour: Some(red), pattern: Some((halves, white)), ..Thing::plain(0) }
    );
    assert_eq!(read("a tiny pine tree").first.size, SIZES.iter().position(|s| s.name == "small"));
    assert_eq!(read("a wooden stool").first, coloured("stool", "wooden"));
}

#[test]
fn what_is_not_known_is_named() {
    let known = understand("a shiny red dragon beside a purple cube").expect("there is a cube");
    assert_eq!(known.unknown, ["shiny", "dragon"]);
    assert!(known.notes.iter().any(|n| n.contains("relation")), "{:?}", known.notes);
    let three = understand("a ball, a cube and a cone").expect("three things");
    assert!(three.notes.iter().any(|n| n.contains("cone")), "{:?}", three.notes);
    for (prompt, says) in [("", "empty"), ("  , !", "empty"), ("龍", "龍"), ("dragon", "dragon"), ("a red", "nothing")]
    {
        let error = understand(prompt).expect_err("nothing to make").to_string();
        assert!(error.contains(says), "{prompt}: {error}");
    }
    let long = understand(&"ball ".repeat(LONGEST)).expect_err("too long").to_string();
    assert!(long.contains("longer"), "{long}");
}

#[test]
fn a_description_reads_back_from_its_words() {
    for i in 0..500 {
        let description = describe(&mut Rng::at(3, "descriptions", i), Taught);
        assert_eq!(read(&description.words()), description, "{}", description.words());
    }
}

#[test]
fn any_text_is_read_or_refused() {
    let words: Vec<&str> =
        "red on it under a table cube ball with and striped tiny next to the left of 龍 ' -".split(' ').collect();
    for i in 0..3000 {
        let mut rng = Rng::at(1, "texts", i);
        let text: Vec<&str> = (0..rng.below(12)).map(|_| words[rng.below(words.len())]).collect();
        if let Ok(read) = understand(&text.join(" ")) {
            let tokens = read.description.tokens();
            assert!(tokens.iter().all(|&t| usize::from(t) < super::words::ROWS));
        }
    }
}

/// The mean colour of what is seen of a description from the front, and where its middle is (−1 to 1, up and right).
fn seen(description: &Description, azimuth: f32) -> (Vec3, [f32; 2], f32) {
    let side = 48;
    let pixels = picture(&build(description, None), &camera(azimuth, 0.1, side));
    let (mut rgb, mut at, mut sum) = (Vec3::ZERO, [0.0; 2], 0.0);
    for (i, p) in pixels.chunks_exact(5).enumerate() {
        rgb += Vec3::new(p[0], p[1], p[2]);
        at[0] += p[3] * (2.0 * (i as f32 % side as f32 + 0.5) / side as f32 - 1.0);
        at[1] += p[3] * (1.0 - 2.0 * ((i / side as usize) as f32 + 0.5) / side as f32);
        sum += p[3];
    }
    (rgb / sum, at.map(|v| v / sum), sum / (side * side) as f32)
}

#[test]
fn everything_fits_into_the_picture_and_the_ball() {
    for (i, word) in THINGS.iter().enumerate() {
        for size in [None, Some(0), Some(1), Some(2), Some(3)] {
            let one = Thing { size, ..Thing::plain(i) };
            let two = Description { first: one, second: Some((Relation::ALL[i % 3], one)) };
            for description in [Description { first: one, second: None }, two] {
                let scene = build(&description, Some(&mut Rng::new(i as u64, "sizes")));
                for azimuth in [0.3, 2.0] {
                    let (side, mut hits) = (32_usize, 0);
                    let camera = camera(azimuth, 0.4, side as u32);
                    for (at, p) in picture(&scene, &camera).chunks_exact(5).enumerate() {
                        let edge = [at % side, at / side].iter().any(|&v| v == 0 || v == side - 1);
                        assert!(!edge || p[3] < 0.5, "{} {size:?} reaches the edge", word.name);
                        hits += usize::from(p[3] > 0.5);
                        assert!(p.iter().all(|v| v.is_finite()) && p[..4].iter().all(|v| (0.0..=1.0).contains(v)));
                    }
                    assert!(hits >= 8, "{} {size:?} is hardly seen: {hits}", word.name);
                }
            }
        }
    }
}

#[test]
fn relations_are_where_they_say() {
    let pair =
        |relation| Description { first: coloured("ball", "red"), second: Some((relation, coloured("cube", "blue"))) };
    let reds = |description: &Description, azimuth: f32| {
        let side = 64;
        let pixels = picture(&build(description, None), &camera(azimuth, 0.1, side));
        let red: Vec<(f32, f32)> = pixels
            .chunks_exact(5)
            .enumerate()
            .filter(|(_, p)| p[3] > 0.5 && p[0] > 2.0 * p[2])
            .map(|(i, _)| ((i % side as usize) as f32, (i / side as usize) as f32))
            .collect();
        let n = red.len().max(1) as f32;
        (red.iter().map(|r| r.0).sum::<f32>() / n - 32.0, 32.0 - red.iter().map(|r| r.1).sum::<f32>() / n)
    };
    assert!(reds(&pair(Relation::On), 0.0).1 > 5.0, "above");
    assert!(reds(&pair(Relation::RightOf), 0.0).0 > 5.0, "on the right from the front");
    assert!(reds(&pair(Relation::RightOf), std::f32::consts::PI).0 < -5.0, "on the left from behind");
    assert!(
        reds(&pair(Relation::InFrontOf), std::f32::consts::FRAC_PI_2).0 < -5.0,
        "the front is to the left seen from +X"
    );
}

#[test]
fn colours_patterns_and_fronts_show() {
    let one = |first| Description { first, second: None };
    let (red, ..) = seen(&one(coloured("ball", "red")), 0.0);
    assert!(red.x > 3.0 * red.z);
    let plain = seen(&one(coloured("cube", "red")), 0.6).0;
    for (pattern, word) in PATTERNS.iter().enumerate() {
        let patterned = Thing { pattern: Some((pattern, colour_called("blue").unwrap())), ..coloured("cube", "red") };
        let share = (seen(&one(patterned), 0.6).0 - plain).length();
        assert!(share > 0.03, "{} is not seen", word.name);
    }
    for name in ["house", "robot", "snowman", "car", "duck", "dog", "television", "chair", "castle"] {
        let (front, back) = (
            seen(&one(Thing::plain(thing(name).unwrap())), 0.0),
            seen(&one(Thing::plain(thing(name).unwrap())), std::f32::consts::PI),
        );
        assert!((front.0 - back.0).length() > 0.01, "{name} has no front");
    }
}

#[test]
fn the_corpus_is_repeatable_and_holds_combinations_back() {
    let (a, b) = (examples(1, Taught, 10, 4), examples(1, Taught, 12, 2));
    assert!(a[2].pictures == b[0].pictures && a[2].tokens == b[0].tokens && a[0].pictures.len() == PICTURES);
    assert_ne!(examples(2, Taught, 10, 1)[0].pictures, a[0].pictures);
    let all: usize = (0..THINGS.len()).map(|t| (0..COLOURS.len()).filter(|&c| held_out(t, c)).count()).sum();
    let share = all as f32 / (THINGS.len() * COLOURS.len()) as f32;
    assert!((0.05..0.15).contains(&share), "{share}");
    for i in 0..2000 {
        for of in [Taught, HeldOut] {
            let d = describe(&mut Rng::at(5, "descriptions", i), of);
            for thing in [Some(d.first), d.second.map(|s| s.1)].into_iter().flatten() {
                assert!(thing.colour.is_none_or(|c| held_out(thing.thing, c) == (of == HeldOut)));
            }
        }
    }
}
