//! The prompts by which priors and losses are measured: none of their combinations of thing and colour was ever among
//! what the built-in prior was taught.

/// One thing each; half of them have a front.
pub const ONE: &[&str] = &[
    "a brown ball",
    "a red cylinder",
    "an orange cone",
    "a yellow pyramid",
    "a green ring",
    "a cyan egg",
    "a purple prism",
    "a white dome",
    "a yellow table",
    "a cyan stool",
    "a brown mushroom",
    "a golden fir",
    "a red rocket",
    "an orange house",
    "a blue car",
    "a pink sofa",
    "a green chair",
    "a yellow robot",
    "a green duck",
    "a purple truck",
];

/// Two things each, in every relation.
pub const TWO: &[&str] = &[
    "a brown mushroom on a yellow table",
    "a red mug on a yellow table",
    "a green ring on a red cylinder",
    "a white cube on a cyan stool",
    "a pink bottle under a brown ball",
    "an orange cone on a white cube",
    "a blue capsule on a pink hexagon",
    "a golden duck on an orange barrel",
    "a white dome on a red cylinder",
    "a cyan lamp on a yellow table",
    "a brown ball to the left of a white cube",
    "a blue car to the right of a grey house",
    "a green fir next to an orange house",
    "a purple truck beside a white lighthouse",
    "a yellow robot to the left of a green chair",
    "a silver dog in front of an orange house",
    "a red cake in front of a cyan lamp",
    "a yellow tree behind a blue bench",
    "a blue cactus in front of a yellow pyramid",
    "a black rocket to the right of a golden hat",
];

#[cfg(test)]
mod tests {
    use super::{ONE, TWO};
    use crate::prior::world::corpus::held_out;
    use crate::prior::world::prompt::understand;

    #[test]
    fn none_of_them_was_taught() {
        assert!(ONE.len() >= 20 && TWO.len() >= 20);
        for prompt in ONE.iter().chain(TWO) {
            let read = understand(prompt).expect("known words");
            assert!(read.unknown.is_empty() && read.notes.is_empty(), "{prompt}: {read:?}");
            let things = [Some(read.description.first), read.description.second.map(|s| s.1)];
            for thing in things.into_iter().flatten() {
                let colour = thing.colour.expect("a colour");
                assert!(held_out(thing.thing, colour), "{prompt}: {thing:?} was taught");
            }
        }
        assert!(ONE.iter().all(|p| understand(p).unwrap().description.second.is_none()));
        assert!(TWO.iter().all(|p| understand(p).unwrap().description.second.is_some()));
    }
}
