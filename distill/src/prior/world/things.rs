//! What each word of [`super::words::THINGS`] is made of. A thing stands on its own ground in any size, faces −Y, and is
//! brought to one size when it is placed.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use glam::{Affine3A, Quat, Vec3, vec3};

use super::solids::Solid;

/// What a part is painted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// The colour and pattern that the prompt gives, or the thing's own.
    Main,
    /// Always the colour of this name.
    Of(&'static str),
}

/// One solid of a thing.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its shape.
    pub solid: Solid,
    /// Where it is.
    pub object_from_part: Affine3A,
    /// Its colour.
    pub paint: Paint,
}

/// A thing in its own frame.
#[derive(Debug)]
pub struct Model {
    /// Its parts.
    pub parts: Vec<Part>,
    /// The name of the colour that it has where none is said.
    pub natural: &'static str,
    /// Where something upon it stands, if that is not the middle of its top.
    pub seat: Option<Vec3>,
}

use Paint::{Main, Of};

const BALL: Solid = Solid::Ball;
const ROD: Solid = Solid::Round { top: 1.0 };
const CONE: Solid = Solid::Round { top: 0.0 };
const CUBE: Solid = Solid::Edged { sides: 4, top: 1.0 };
const PYRAMID: Solid = Solid::Edged { sides: 4, top: 0.0 };

/// Builds a thing part by part.
struct Kit(Model);

impl Kit {
    fn of(natural: &'static str) -> Self {
        Self(Model { parts: Vec::new(), natural, seat: None })
    }

    /// A solid of half the size `half` around `at`.
    fn put(self, paint: Paint, solid: Solid, at: [f32; 3], half: [f32; 3]) -> Self {
        self.turn(paint, solid, at, half, Quat::IDENTITY)
    }

    /// The same, turned about its middle.
    fn turn(mut self, paint: Paint, solid: Solid, at: [f32; 3], half: [f32; 3], turn: Quat) -> Self {
        let object_from_part = Affine3A::from_scale_rotation_translation(half.into(), turn, at.into());
        self.0.parts.push(Part { solid, object_from_part, paint });
        self
    }

    /// The same solid at the four corners `(±x, ±y)`.
    fn four(self, paint: Paint, solid: Solid, at: [f32; 3], half: [f32; 3]) -> Self {
        let [x, y, z] = at;
        self.two(paint, solid, [x, y, z], half).two(paint, solid, [x, -y, z], half)
    }

    /// The same solid at `±x`.
    fn two(self, paint: Paint, solid: Solid, at: [f32; 3], half: [f32; 3]) -> Self {
        let [x, y, z] = at;
        self.put(paint, solid, [x, y, z], half).put(paint, solid, [-x, y, z], half)
    }

    fn seat(mut self, x: f32, y: f32, z: f32) -> Model {
        self.0.seat = Some(vec3(x, y, z));
        self.0
    }
}

/// A rod lies along x.
fn along_x() -> Quat {
    Quat::from_rotation_y(FRAC_PI_2)
}

/// A rod lies along y, its top towards the front.
fn along_y() -> Quat {
    Quat::from_rotation_x(FRAC_PI_2)
}

/// The thing called `name`, `None` for a name that nobody built.
pub fn model(name: &str) -> Option<Model> {
    shape(name).or_else(|| furniture(name)).or_else(|| outdoors(name)).or_else(|| vehicle(name)).or_else(|| small(name))
}

fn shape(name: &str) -> Option<Model> {
    let one = |solid, half| Kit::of("grey").put(Main, solid, [0.0; 3], half).0;
    Some(match name {
        "ball" => one(BALL, [1.0; 3]),
        "cube" => one(CUBE, [0.85; 3]),
        "cylinder" => one(ROD, [0.75, 0.75, 1.0]),
        "cone" => one(CONE, [0.9, 0.9, 1.1]),
        "pyramid" => one(PYRAMID, [1.0, 1.0, 0.9]),
        "ring" => one(Solid::Ring { tube: 0.33 }, [1.0; 3]),
        "egg" => one(BALL, [0.75, 0.75, 1.05]),
        "capsule" => {
            Kit::of("grey")
                .put(Main, ROD, [0.0; 3], [0.5, 0.5, 0.6])
                .put(Main, BALL, [0.0, 0.0, 0.6], [0.5; 3])
                .put(Main, BALL, [0.0, 0.0, -0.6], [0.5; 3])
                .0
        }
        "prism" => {
            Kit::of("grey")
                .turn(
                    Main,
                    Solid::Edged { sides: 3, top: 1.0 },
                    [0.0; 3],
                    [1.0, 1.0, 0.9],
                    along_y() * Quat::from_rotation_z(PI / 6.0),
                )
                .0
        }
        "hexagon" => one(Solid::Edged { sides: 6, top: 1.0 }, [1.0, 1.0, 0.6]),
        "disc" => one(ROD, [1.0, 1.0, 0.2]),
        "dome" => dome(Kit::of("grey"), Main, 0.0, 1.0, 0.85).0,
        "star" => star(),
        "cross" => {
            Kit::of("grey").put(Main, CUBE, [0.0; 3], [0.3, 0.3, 1.0]).put(Main, CUBE, [0.0; 3], [1.0, 0.3, 0.3]).0
        }
        _ => return None,
    })
}

/// Half a ball upon the height `z`, as frustums of it: solids are whole, and a half of one would show its other half.
fn dome(mut kit: Kit, paint: Paint, z: f32, radius: f32, height: f32) -> Kit {
    const STEPS: usize = 6;
    let at = |i: usize| {
        let angle = FRAC_PI_2 * i as f32 / STEPS as f32;
        (radius * angle.cos(), height * angle.sin())
    };
    for i in 0..STEPS {
        let ((r0, z0), (r1, z1)) = (at(i), at(i + 1));
        let top = (r1 / r0).max(0.0);
        kit = kit.put(paint, Solid::Round { top }, [0.0, 0.0, z + 0.5 * (z0 + z1)], [r0, r0, 0.5 * (z1 - z0)]);
    }
    kit
}

/// Five points that face the front, and the middle between them.
fn star() -> Model {
    let mut kit =
        Kit::of("yellow").turn(Main, Solid::Edged { sides: 5, top: 1.0 }, [0.0; 3], [0.48, 0.48, 0.22], along_y());
    for i in 0..5 {
        let angle = TAU * i as f32 / 5.0;
        let outward = vec3(angle.sin(), 0.0, angle.cos());
        let turn = Quat::from_rotation_arc(Vec3::Z, outward);
        kit = kit.turn(Main, PYRAMID, (0.66 * outward).into(), [0.3, 0.2, 0.36], turn);
    }
    kit.0
}

fn furniture(name: &str) -> Option<Model> {
    Some(match name {
        "table" => {
            Kit::of("wooden")
                .put(Main, CUBE, [0.0, 0.0, 1.0], [1.0, 0.75, 0.1])
                .four(Main, CUBE, [0.85, 0.6, 0.45], [0.12, 0.12, 0.45])
                .0
        }
        "chair" => Kit::of("wooden")
            .put(Main, CUBE, [0.0, 0.0, 0.9], [0.6, 0.6, 0.1])
            .four(Main, CUBE, [0.48, 0.48, 0.4], [0.11, 0.11, 0.4])
            .put(Main, CUBE, [0.0, 0.5, 1.5], [0.6, 0.1, 0.6])
            .seat(0.0, -0.1, 1.0),
        "stool" => {
            let mut kit = Kit::of("wooden").put(Main, ROD, [0.0, 0.0, 1.2], [0.7, 0.7, 0.12]);
            for i in 0..3 {
                let (sin, cos) = (TAU * (i as f32 + 0.25) / 3.0).sin_cos();
                let turn = Quat::from_rotation_arc(Vec3::Z, vec3(-0.2 * cos, -0.2 * sin, 1.0).normalize());
                kit = kit.turn(Main, ROD, [0.5 * cos, 0.5 * sin, 0.55], [0.12, 0.12, 0.57], turn);
            }
            kit.0
        }
        "bench" => Kit::of("wooden")
            .put(Main, CUBE, [0.0, 0.0, 0.6], [1.2, 0.4, 0.1])
            .two(Main, CUBE, [0.95, 0.0, 0.25], [0.12, 0.35, 0.25])
            .put(Main, CUBE, [0.0, 0.36, 1.0], [1.2, 0.08, 0.3])
            .seat(0.0, -0.05, 0.7),
        "bed" => Kit::of("blue")
            .put(Of("wooden"), CUBE, [0.0, 0.0, 0.3], [0.75, 1.1, 0.2])
            .put(Main, CUBE, [0.0, -0.15, 0.6], [0.7, 0.93, 0.14])
            .put(Of("white"), CUBE, [0.0, 0.78, 0.68], [0.5, 0.22, 0.16])
            .put(Of("wooden"), CUBE, [0.0, 1.1, 0.6], [0.75, 0.1, 0.6])
            .seat(0.0, -0.2, 0.74),
        "sofa" => Kit::of("red")
            .put(Main, CUBE, [0.0, 0.0, 0.35], [1.1, 0.55, 0.3])
            .put(Main, CUBE, [0.0, 0.45, 0.85], [1.1, 0.18, 0.5])
            .two(Main, CUBE, [1.0, 0.0, 0.6], [0.18, 0.55, 0.45])
            .four(Of("black"), CUBE, [0.9, 0.4, 0.02], [0.1, 0.1, 0.08])
            .seat(0.0, -0.1, 0.65),
        "lamp" => {
            Kit::of("yellow")
                .put(Of("grey"), ROD, [0.0, 0.0, 0.08], [0.5, 0.5, 0.08])
                .put(Of("grey"), ROD, [0.0, 0.0, 0.7], [0.1, 0.1, 0.6])
                .put(Main, Solid::Round { top: 0.55 }, [0.0, 0.0, 1.55], [0.75, 0.75, 0.4])
                .0
        }
        "television" => {
            Kit::of("black")
                .put(Main, CUBE, [0.0, 0.0, 0.85], [1.1, 0.15, 0.65])
                .put(Of("cyan"), CUBE, [0.0, -0.13, 0.87], [0.95, 0.05, 0.5])
                .put(Of("grey"), CUBE, [0.0, 0.0, 0.15], [0.15, 0.12, 0.12])
                .put(Of("grey"), CUBE, [0.0, 0.0, 0.05], [0.55, 0.3, 0.06])
                .0
        }
        _ => return None,
    })
}

fn outdoors(name: &str) -> Option<Model> {
    Some(match name {
        "mushroom" => {
            dome(Kit::of("red"), Main, 0.85, 0.95, 0.75)
                .put(Of("white"), Solid::Round { top: 0.75 }, [0.0, 0.0, 0.43], [0.38, 0.38, 0.43])
                .0
        }
        "snowman" => {
            Kit::of("white")
                .put(Main, BALL, [0.0, 0.0, 0.65], [0.7; 3])
                .put(Main, BALL, [0.0, 0.0, 1.6], [0.5; 3])
                .put(Main, BALL, [0.0, 0.0, 2.3], [0.38; 3])
                .turn(Of("orange"), CONE, [0.0, -0.52, 2.3], [0.13, 0.13, 0.25], along_y())
                .two(Of("black"), BALL, [0.15, -0.31, 2.43], [0.08; 3])
                .put(Of("black"), ROD, [0.0, 0.0, 2.66], [0.42, 0.42, 0.05])
                .put(Of("black"), ROD, [0.0, 0.0, 2.85], [0.28, 0.28, 0.2])
                .0
        }
        "house" => {
            Kit::of("white")
                .put(Main, CUBE, [0.0, 0.0, 0.55], [0.85, 0.85, 0.55])
                .put(Of("red"), PYRAMID, [0.0, 0.0, 1.5], [1.05, 1.05, 0.42])
                .put(Of("brown"), CUBE, [0.0, -0.84, 0.38], [0.2, 0.06, 0.38])
                .two(Of("cyan"), CUBE, [0.53, -0.84, 0.68], [0.17, 0.05, 0.17])
                .put(Of("grey"), CUBE, [0.5, 0.4, 1.6], [0.14, 0.14, 0.35])
                .0
        }
        "tree" => {
            Kit::of("green")
                .put(Of("brown"), ROD, [0.0, 0.0, 0.5], [0.2, 0.2, 0.5])
                .put(Main, BALL, [0.0, 0.0, 1.7], [0.9, 0.9, 0.85])
                .0
        }
        "fir" => {
            Kit::of("green")
                .put(Of("brown"), ROD, [0.0, 0.0, 0.2], [0.18, 0.18, 0.2])
                .put(Main, CONE, [0.0, 0.0, 0.85], [0.85, 0.85, 0.5])
                .put(Main, CONE, [0.0, 0.0, 1.45], [0.68, 0.68, 0.48])
                .put(Main, CONE, [0.0, 0.0, 2.0], [0.5, 0.5, 0.45])
                .0
        }
        "castle" => Kit::of("stone")
            .put(Main, CUBE, [0.0, 0.0, 0.5], [0.75, 0.75, 0.5])
            .four(Main, ROD, [0.75, 0.75, 0.7], [0.3, 0.3, 0.7])
            .four(Of("red"), CONE, [0.75, 0.75, 1.7], [0.38, 0.38, 0.3])
            .put(Of("brown"), CUBE, [0.0, -0.74, 0.32], [0.24, 0.06, 0.32])
            .seat(0.0, 0.0, 1.0),
        "lighthouse" => {
            Kit::of("red")
                .put(Main, Solid::Round { top: 0.65 }, [0.0, 0.0, 0.9], [0.55, 0.55, 0.9])
                .put(Of("grey"), ROD, [0.0, 0.0, 1.84], [0.48, 0.48, 0.06])
                .put(Of("yellow"), ROD, [0.0, 0.0, 2.08], [0.28, 0.28, 0.2])
                .put(Of("black"), CONE, [0.0, 0.0, 2.45], [0.4, 0.4, 0.18])
                .put(Of("brown"), CUBE, [0.0, -0.5, 0.25], [0.15, 0.08, 0.25])
                .0
        }
        "cactus" => {
            Kit::of("green")
                .put(Main, ROD, [0.0, 0.0, 0.9], [0.28, 0.28, 0.9])
                .put(Main, BALL, [0.0, 0.0, 1.8], [0.28; 3])
                .turn(Main, ROD, [0.45, 0.0, 0.8], [0.15, 0.15, 0.4], along_x())
                .put(Main, ROD, [0.75, 0.0, 1.1], [0.16, 0.16, 0.4])
                .turn(Main, ROD, [-0.45, 0.0, 1.05], [0.15, 0.15, 0.35], along_x())
                .put(Main, ROD, [-0.7, 0.0, 1.3], [0.16, 0.16, 0.35])
                .0
        }
        "flower" => flower(),
        "tent" => {
            Kit::of("orange")
                .turn(
                    Main,
                    Solid::Edged { sides: 3, top: 1.0 },
                    [0.0, 0.0, 0.5],
                    [1.0, 1.0, 0.95],
                    along_y() * Quat::from_rotation_z(PI / 6.0),
                )
                .turn(
                    Of("black"),
                    Solid::Edged { sides: 3, top: 1.0 },
                    [0.0, -0.5, 0.28],
                    [0.55, 0.55, 0.48],
                    along_y() * Quat::from_rotation_z(PI / 6.0),
                )
                .0
        }
        _ => return None,
    })
}

fn flower() -> Model {
    let mut kit = Kit::of("pink")
        .put(Of("green"), ROD, [0.0, 0.0, 0.6], [0.09, 0.09, 0.6])
        .put(Of("green"), BALL, [0.28, 0.0, 0.5], [0.26, 0.14, 0.09])
        .turn(Of("yellow"), BALL, [0.0, -0.1, 1.5], [0.26, 0.26, 0.16], along_y());
    for i in 0..6 {
        let (sin, cos) = (TAU * i as f32 / 6.0).sin_cos();
        let turn = Quat::from_rotation_y(-(TAU * i as f32 / 6.0));
        kit = kit.turn(Main, BALL, [0.42 * cos, 0.0, 1.5 + 0.42 * sin], [0.27, 0.12, 0.2], turn);
    }
    kit.0
}

fn vehicle(name: &str) -> Option<Model> {
    let wheel = Solid::Round { top: 1.0 };
    let wheels = |mut kit: Kit, x: f32, ys: &[f32], r: f32| {
        for &y in ys {
            for x in [x, -x] {
                kit = kit.turn(Of("black"), wheel, [x, y, r], [r, r, 0.1], along_x());
            }
        }
        kit
    };
    Some(match name {
        "rocket" => {
            let mut kit = Kit::of("white")
                .put(Main, ROD, [0.0, 0.0, 1.0], [0.42, 0.42, 0.75])
                .put(Of("red"), CONE, [0.0, 0.0, 2.1], [0.42, 0.42, 0.36])
                .put(Of("grey"), Solid::Round { top: 0.6 }, [0.0, 0.0, 0.14], [0.38, 0.38, 0.12])
                .turn(Of("cyan"), ROD, [0.0, -0.4, 1.35], [0.17, 0.17, 0.05], along_y());
            for i in 0..4 {
                let angle = TAU * (i as f32 + 0.5) / 4.0;
                let (sin, cos) = angle.sin_cos();
                kit = kit.turn(
                    Of("red"),
                    PYRAMID,
                    [0.52 * cos, 0.52 * sin, 0.45],
                    [0.3, 0.07, 0.42],
                    Quat::from_rotation_z(angle),
                );
            }
            kit.0
        }
        "car" => {
            wheels(
                Kit::of("red")
                    .put(Main, CUBE, [0.0, 0.0, 0.5], [0.6, 1.2, 0.24])
                    .put(Main, Solid::Edged { sides: 4, top: 0.75 }, [0.0, 0.15, 0.95], [0.55, 0.7, 0.22])
                    .put(Of("cyan"), CUBE, [0.0, -0.52, 0.92], [0.42, 0.06, 0.13])
                    .two(Of("cyan"), CUBE, [0.5, 0.15, 0.92], [0.04, 0.4, 0.12])
                    .two(Of("yellow"), CUBE, [0.4, -1.2, 0.55], [0.13, 0.05, 0.1]),
                0.58,
                &[-0.72, 0.72],
                0.3,
            )
            .0
        }
        "truck" => {
            wheels(
                Kit::of("blue")
                    .put(Of("white"), CUBE, [0.0, 0.4, 1.05], [0.62, 0.85, 0.65])
                    .put(Main, CUBE, [0.0, -0.8, 0.8], [0.58, 0.35, 0.5])
                    .put(Of("cyan"), CUBE, [0.0, -1.14, 1.0], [0.45, 0.04, 0.17])
                    .put(Of("black"), CUBE, [0.0, 0.0, 0.34], [0.5, 1.1, 0.1])
                    .two(Of("yellow"), CUBE, [0.38, -1.15, 0.5], [0.12, 0.05, 0.09]),
                0.56,
                &[-0.75, 0.3, 0.9],
                0.28,
            )
            .0
        }
        "boat" => Kit::of("wooden")
            .turn(
                Main,
                Solid::Edged { sides: 4, top: 0.7 },
                [0.0, 0.0, 0.3],
                [0.6, 1.2, 0.3],
                Quat::from_rotation_x(PI),
            )
            .put(Of("brown"), ROD, [0.0, 0.0, 1.2], [0.08, 0.08, 0.65])
            .put(Of("white"), Solid::Edged { sides: 4, top: 0.0 }, [0.0, 0.1, 1.25], [0.06, 0.75, 0.6])
            .seat(0.0, -0.6, 0.6),
        _ => return None,
    })
}

fn small(name: &str) -> Option<Model> {
    Some(match name {
        "bottle" => {
            Kit::of("green")
                .put(Main, ROD, [0.0, 0.0, 0.65], [0.5, 0.5, 0.65])
                .put(Main, Solid::Round { top: 0.35 }, [0.0, 0.0, 1.48], [0.5, 0.5, 0.18])
                .put(Main, ROD, [0.0, 0.0, 1.85], [0.17, 0.17, 0.22])
                .put(Of("brown"), ROD, [0.0, 0.0, 2.12], [0.2, 0.2, 0.08])
                .0
        }
        "mug" => {
            Kit::of("blue")
                .put(Main, ROD, [0.0, 0.0, 0.7], [0.65, 0.65, 0.7])
                .put(Of("black"), ROD, [0.0, 0.0, 1.4], [0.52, 0.52, 0.02])
                .turn(Main, Solid::Ring { tube: 0.25 }, [0.7, 0.0, 0.7], [0.45; 3], along_y())
                .0
        }
        "barrel" => {
            Kit::of("wooden")
                .put(Main, Solid::Round { top: 0.8 }, [0.0, 0.0, 1.35], [0.75, 0.75, 0.45])
                .turn(Main, Solid::Round { top: 0.8 }, [0.0, 0.0, 0.45], [0.75, 0.75, 0.45], Quat::from_rotation_x(PI))
                .put(Of("grey"), ROD, [0.0, 0.0, 0.4], [0.76, 0.76, 0.08])
                .put(Of("grey"), ROD, [0.0, 0.0, 1.4], [0.76, 0.76, 0.08])
                .0
        }
        "robot" => {
            Kit::of("silver")
                .put(Main, CUBE, [0.0, 0.0, 1.0], [0.5, 0.35, 0.5])
                .put(Main, CUBE, [0.0, 0.0, 1.95], [0.38, 0.35, 0.34])
                .put(Of("black"), ROD, [0.0, 0.0, 1.55], [0.12, 0.12, 0.1])
                .two(Of("cyan"), BALL, [0.17, -0.34, 2.03], [0.11; 3])
                .put(Of("black"), CUBE, [0.0, -0.34, 1.78], [0.2, 0.04, 0.05])
                .two(Main, CUBE, [0.68, 0.0, 1.0], [0.14, 0.17, 0.5])
                .two(Main, CUBE, [0.27, 0.0, 0.25], [0.17, 0.2, 0.27])
                .put(Of("red"), CUBE, [0.0, -0.34, 1.15], [0.15, 0.04, 0.15])
                .0
        }
        "duck" => {
            Kit::of("yellow")
                .put(Main, BALL, [0.0, 0.15, 0.6], [0.65, 0.95, 0.58])
                .put(Main, BALL, [0.0, -0.55, 1.4], [0.45; 3])
                .turn(Of("orange"), CONE, [0.0, -1.1, 1.35], [0.2, 0.12, 0.26], along_y())
                .two(Of("black"), BALL, [0.22, -0.88, 1.55], [0.09; 3])
                .turn(Main, CONE, [0.0, 1.05, 0.85], [0.3, 0.2, 0.35], Quat::from_rotation_x(-0.9))
                .0
        }
        "dog" => {
            Kit::of("brown")
                .put(Main, CUBE, [0.0, 0.15, 0.85], [0.36, 0.8, 0.34])
                .four(Main, CUBE, [0.24, 0.5, 0.3], [0.13, 0.13, 0.3])
                .put(Main, CUBE, [0.0, -0.85, 1.35], [0.36, 0.34, 0.33])
                .put(Of("white"), CUBE, [0.0, -1.25, 1.22], [0.2, 0.16, 0.16])
                .put(Of("black"), BALL, [0.0, -1.42, 1.3], [0.1; 3])
                .two(Of("black"), BALL, [0.18, -1.19, 1.5], [0.08; 3])
                .two(Of("black"), CUBE, [0.38, -0.8, 1.45], [0.07, 0.17, 0.28])
                .turn(Main, ROD, [0.0, 1.05, 1.2], [0.1, 0.1, 0.32], Quat::from_rotation_x(-0.5))
                .0
        }
        "candle" => {
            Kit::of("white")
                .put(Main, ROD, [0.0, 0.0, 0.85], [0.38, 0.38, 0.75])
                .put(Of("golden"), ROD, [0.0, 0.0, 0.07], [0.75, 0.75, 0.07])
                .put(Of("black"), ROD, [0.0, 0.0, 1.66], [0.05, 0.05, 0.1])
                .put(Of("orange"), BALL, [0.0, 0.0, 1.95], [0.17, 0.17, 0.28])
                .0
        }
        "umbrella" => {
            dome(Kit::of("red"), Main, 1.2, 1.1, 0.6)
                .put(Of("brown"), ROD, [0.0, 0.0, 0.6], [0.08, 0.08, 0.6])
                .put(Of("brown"), ROD, [0.0, 0.0, 1.88], [0.06, 0.06, 0.1])
                .0
        }
        "cake" => {
            Kit::of("pink")
                .put(Main, ROD, [0.0, 0.0, 0.4], [1.0, 1.0, 0.35])
                .put(Of("white"), ROD, [0.0, 0.0, 0.03], [1.2, 1.2, 0.05])
                .put(Of("white"), ROD, [0.0, 0.0, 1.0], [0.65, 0.65, 0.27])
                .put(Of("red"), BALL, [0.0, 0.0, 1.42], [0.2; 3])
                .0
        }
        "hat" => {
            Kit::of("black")
                .put(Main, ROD, [0.0, 0.0, 0.07], [1.1, 1.1, 0.08])
                .put(Main, ROD, [0.0, 0.0, 0.65], [0.65, 0.65, 0.52])
                .put(Of("red"), ROD, [0.0, 0.0, 0.26], [0.67, 0.67, 0.12])
                .0
        }
        _ => return None,
    })
}
