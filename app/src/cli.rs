//! The command line as a contract: verbs, flags and the values that they take. Scripts rely on every name here.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};
use retort_distill::guidance::Loss;
use retort_fields::data::Split;
use retort_fields::mesh::export::Method;
use retort_fields::mesh::unwrap::SIDES;
use retort_fields::registry::Kind;
use retort_render::path::RATES;

/// The largest side of a picture in pixels.
const MAX_SIDE: u32 = 8192;

/// Radiance fields: train from photos, convert into one another, render, measure.
#[derive(Debug, Parser)]
#[command(name = "retort", version, about, max_term_width = 110)]
pub struct Cli {
    /// What to do; nothing means the window, or the demo where there is no display.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
}

/// What every verb takes.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// Where to compute
    #[arg(long, global = true, value_name = "auto|cpu|gpu[:N]", default_value = "auto", value_parser = device)]
    pub device: String,
    /// Where all random choices start
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Settings by name (see `retort presets`), or a TOML file
    #[arg(long, global = true, value_name = "NAME|FILE.toml")]
    pub preset: Option<String>,
    /// Changes one value of the preset; may be given several times
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Steps in all, instead of the preset's
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Option<u32>,
    /// Ends the work after this long: 90s, 5m, 1h30m
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub time: Option<Duration>,
    /// Continues from the checkpoint of an interrupted run
    #[arg(long, global = true)]
    pub resume: bool,
    /// Replaces files that are there already
    #[arg(long, global = true)]
    pub overwrite: bool,
    /// Writes one JSON object a line on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Says only what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Says more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The verbs of this version.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trains a field from posed photos
    Train(Train),
    /// Distils a field into another kind
    Convert(Convert),
    /// Makes a field from a prompt
    Generate(Generate),
    /// Changes a field to what a prompt says
    Edit(Edit),
    /// Makes a textured mesh of a field's surface
    Mesh(Mesh),
    /// Renders pictures of a field
    Render(Render),
    /// Measures PSNR and SSIM against photos
    Eval(Eval),
    /// Says what a field file holds and where it came from
    Info(Info),
    /// Opens the window
    Gui(Gui),
    /// Converts the built-in scene into every kind and shows the result
    Demo(Demo),
    /// Prints the names and contents of the presets
    Presets(Presets),
    /// Measures this program on your photos
    #[command(subcommand)]
    Bench(Bench),
}

/// `retort train DATA --to KIND [-o OUT]`
#[derive(Debug, Args)]
pub struct Train {
    /// A folder or JSON of posed photos: Blender synthetic, transforms.json, COLMAP or LLFF
    pub data: PathBuf,
    /// The kind of field to train
    #[arg(long, value_name = "KIND", value_parser = kind())]
    pub to: Kind,
    /// The field's file [default: named after DATA and KIND, here]
    #[arg(short, long, value_name = "OUT")]
    pub out: Option<PathBuf>,
}

/// `retort convert IN [--to KIND] [-o OUT]`
#[derive(Debug, Args)]
pub struct Convert {
    /// The field to convert (of ours, of Gaussians, of another trainer), or a scene file (scene.toml) of several
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The kind of field to make; without it, IN is written as it is in the format of OUT's ending
    #[arg(long, value_name = "KIND", value_parser = kind(), required_unless_present = "out")]
    pub to: Option<Kind>,
    /// The new field's file; its ending says the format [default: named after IN and KIND, here]
    #[arg(short, long, value_name = "OUT")]
    pub out: Option<PathBuf>,
    /// Posed photos to measure the result against
    #[arg(long, value_name = "DATA", requires = "to")]
    pub data: Option<PathBuf>,
}

/// `retort generate "PROMPT" [--to KIND] [--loss NAME] [--prior builtin|DIR] [-o OUT]`
#[derive(Debug, Args)]
pub struct Generate {
    /// What to make, in plain words: "a red mushroom on a green table"
    #[arg(value_name = "PROMPT")]
    pub prompt: String,
    /// The kind of field to make
    #[arg(long, value_name = "KIND", value_parser = kind(), default_value = "hash")]
    pub to: Kind,
    /// The loss [default: the preset's own]
    #[arg(long, value_name = "LOSS", value_parser = loss())]
    pub loss: Option<Loss>,
    /// The diffusion model: the one that comes with the program, a folder of Stable Diffusion in diffusers' layout, also with adapters as DIR+FILE*0.7, or a file of other weights for the one that comes with the program
    #[arg(long, value_name = "builtin|DIR|FILE", default_value = "builtin")]
    pub prior: String,
    /// Distils what was made into another kind: the result is of that kind
    #[arg(long, value_name = "KIND", value_parser = kind())]
    pub then: Option<Kind>,
    /// Writes the result's textured mesh, too
    #[arg(long, value_name = "GLB")]
    pub mesh: Option<PathBuf>,
    /// Writes what the model itself draws of the prompt first, as a PNG: seconds that show what the words mean to it
    #[arg(long, value_name = "PNG")]
    pub preview: Option<PathBuf>,
    /// The field's file [default: named after the prompt and KIND, here]
    #[arg(short, long, value_name = "OUT")]
    pub out: Option<PathBuf>,
}

/// `retort edit IN "PROMPT" [--source "WHAT IT IS"] [--box x0,y0,z0,x1,y1,z1] [-o OUT]`
#[derive(Debug, Args)]
pub struct Edit {
    /// The field to change
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// What it should be: "a blue ball"
    #[arg(value_name = "PROMPT")]
    pub prompt: String,
    /// What it is now: "a red ball" [default: what it was made from, where that was a prompt]
    #[arg(long, value_name = "WHAT IT IS")]
    pub source: Option<String>,
    /// Only within this box, in scene units; the result is a scene of the field without it and the changed part
    #[arg(long = "box", value_name = "X0,Y0,Z0,X1,Y1,Z1", value_parser = corners, allow_hyphen_values = true)]
    pub part: Option<[f32; 6]>,
    /// The diffusion model: the one that comes with the program, a folder of Stable Diffusion in diffusers' layout, also with adapters as DIR+FILE*0.7, or a file of other weights for the one that comes with the program
    #[arg(long, value_name = "builtin|DIR|FILE", default_value = "builtin")]
    pub prior: String,
    /// The changed field's file; with --box a scene file [default: named after the prompt, here]
    #[arg(short, long, value_name = "OUT")]
    pub out: Option<PathBuf>,
}

/// `retort mesh IN [-o OUT.glb|OUT.obj]`
#[derive(Debug, Args)]
pub struct Mesh {
    /// The field, or a scene file; what is erased or cropped is not in the mesh
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The mesh's file, a GLB, or an OBJ with .mtl and .png beside it [default: a GLB named after IN, here]
    #[arg(short, long, value_name = "OUT.glb|OUT.obj")]
    pub out: Option<PathBuf>,
    /// The surface is where the density per scene unit (by depth: the distance in cells) has this value [default: what fits the field's own pictures best]
    #[arg(long, value_name = "N", value_parser = level, allow_negative_numbers = true)]
    pub level: Option<f32>,
    /// Grid points along the longest edge of the box [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=1024))]
    pub resolution: Option<u32>,
    /// Triangles at most [default: 50000]
    #[arg(long, value_name = "N", value_parser = faces)]
    pub faces: Option<usize>,
    /// The texture's width and height in texels [default: 2048]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=i64::from(*SIDES.end())), conflicts_with = "vertex_colors")]
    pub texture: Option<u32>,
    /// Colours of vertices instead of a texture
    #[arg(long)]
    pub vertex_colors: bool,
    /// How the surface is found: in the density, from pictures of depth, or by whichever fits better
    #[arg(long, value_name = "auto|density|depth", default_value = "auto", value_parser = crate::commands::mesh::method)]
    pub method: Method,
    /// Pieces of less than this share of the largest one's area go, 0 keeps all [default: 0.01]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub keep: Option<f32>,
    /// A material that lights shine on, instead of one that shows its colours as they are
    #[arg(long)]
    pub lit: bool,
}

/// `retort render IN [--camera FILE | --orbit N] [--size WxH] [--fps N] -o OUT.png|DIR|OUT.mp4`
#[derive(Debug, Args)]
pub struct Render {
    /// The field to render, or a scene file
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// A JSON file of one camera, of a list, or of a camera path as the window and nerfstudio save it
    #[arg(long, value_name = "FILE", conflicts_with = "orbit")]
    pub camera: Option<PathBuf>,
    /// This many views around the scene
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub orbit: Option<u32>,
    /// The pictures' size in pixels [default: the camera's own, 512x512 for an orbit]
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub size: Option<[u32; 2]>,
    /// A film's pictures a second [default: the camera path's own, 24 for an orbit]
    #[arg(long, value_name = "N", value_parser = fps)]
    pub fps: Option<f32>,
    /// A PNG, or for several views a folder or a film (H.264) [default: named after IN, here]
    #[arg(short, long, value_name = "OUT.png|DIR|OUT.mp4")]
    pub out: Option<PathBuf>,
}

/// `retort eval IN --data DATA [--split test]`
#[derive(Debug, Args)]
pub struct Eval {
    /// The field to measure, or a scene file
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// Posed photos to measure it against
    #[arg(long, value_name = "DATA")]
    pub data: PathBuf,
    /// Which of the photos
    #[arg(long, value_name = "SPLIT", default_value = "test", value_parser = split())]
    pub split: Split,
    /// A PNG of the first view: photo and field side by side
    #[arg(short, long, value_name = "OUT.png")]
    pub out: Option<PathBuf>,
}

/// `retort info FILE`
#[derive(Debug, Args)]
pub struct Info {
    /// A field's file, or a scene file
    pub file: PathBuf,
}

/// `retort gui [FILE…]`
#[derive(Debug, Args)]
pub struct Gui {
    /// Fields and scene files to open, or a folder of photos to train on; the demo scene where none is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `retort demo [-o DIR]`
#[derive(Debug, Args)]
pub struct Demo {
    /// The folder for fields and pictures
    #[arg(short, long, value_name = "DIR", default_value = "retort-demo")]
    pub out: PathBuf,
}

impl Default for Demo {
    fn default() -> Self {
        Self { out: PathBuf::from("retort-demo") }
    }
}

/// `retort presets [NAME]`
#[derive(Debug, Args)]
pub struct Presets {
    /// Only this one
    pub name: Option<String>,
}

/// `retort bench …`
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// The table of all conversions: quality, time, ratio to training from photos
    Pairs(Pairs),
    /// The table of losses: what is made of prompts that were never taught, held against what they mean
    Prompts(Prompts),
}

/// `retort bench prompts [--losses a,b] [--to KIND] [--seeds N] [-o DIR]`
#[derive(Debug, Args)]
pub struct Prompts {
    /// Only these losses, with commas between [default: mvsds]
    #[arg(long, value_name = "LOSSES", value_delimiter = ',', value_parser = loss())]
    pub losses: Vec<Loss>,
    /// The kind of field to make
    #[arg(long, value_name = "KIND", value_parser = kind(), default_value = "hash")]
    pub to: Kind,
    /// Seeds for each prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// Prompts of one thing, and as many of two
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub count: usize,
    /// The diffusion model: the one that comes with the program, a folder of Stable Diffusion in diffusers' layout, also with adapters as DIR+FILE*0.7, or a file of other weights for the one that comes with the program
    #[arg(long, value_name = "builtin|DIR|FILE", default_value = "builtin")]
    pub prior: String,
    /// The folder for pictures and the table
    #[arg(short, long, value_name = "DIR", default_value = "retort-prompts")]
    pub out: PathBuf,
}

/// `retort bench pairs --data DIR [--kinds a,b] [-o DIR]`
#[derive(Debug, Args)]
pub struct Pairs {
    /// Posed photos to train on and to measure against
    #[arg(long, value_name = "DATA")]
    pub data: PathBuf,
    /// Only these kinds, with commas between; all where none is named
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind())]
    pub kinds: Vec<Kind>,
    /// The folder for fields and the table
    #[arg(short, long, value_name = "DIR", default_value = "retort-pairs")]
    pub out: PathBuf,
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    let names = Kind::ALL.iter().map(|kind| kind.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Kind>())
}

fn loss() -> impl TypedValueParser<Value = Loss> {
    let names = Loss::makers().map(Loss::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Loss>())
}

fn split() -> impl TypedValueParser<Value = Split> {
    PossibleValuesParser::new(["test", "train", "val"]).map(|name| match name.as_str() {
        "train" => Split::Train,
        "val" => Split::Val,
        _ => Split::Test,
    })
}

fn device(text: &str) -> Result<String, String> {
    let numbered = text.strip_prefix("gpu:").is_some_and(|n| n.parse::<u16>().is_ok());
    if numbered || matches!(text, "auto" | "cpu" | "gpu") {
        return Ok(text.into());
    }
    Err("use auto, cpu, gpu or gpu:N".into())
}

/// A key and a value with `=` between them.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("use key=value")?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || value.is_empty() { Err("use key=value".into()) } else { Ok((key.into(), value.into())) }
}

/// A time such as `90s`, `5m`, `1h30m` or `0.5h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    const USE: &str = "use a time such as 90s, 5m or 1h30m";
    let (mut rest, mut seconds) = (text.trim(), 0.0);
    if rest.is_empty() {
        return Err(USE.into());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(USE)?;
        let number: f64 = rest[..digits].parse().map_err(|_| USE)?;
        let unit = match rest[digits..].chars().next() {
            Some('s') => 1.0,
            Some('m') => 60.0,
            Some('h') => 3600.0,
            _ => return Err(USE.into()),
        };
        seconds += number * unit;
        rest = &rest[digits + 1..];
    }
    // A year is beyond any patience and well inside what a duration can hold.
    if (1e-3..=3.2e7).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(USE.into()) }
}

/// Six numbers: the lower corner of a box, then the upper.
fn corners(text: &str) -> Result<[f32; 6], String> {
    let numbers: Option<Vec<f32>> =
        text.split(',').map(|n| n.trim().parse().ok().filter(|v: &f32| v.is_finite())).collect();
    let six: Option<[f32; 6]> = numbers.and_then(|n| n.try_into().ok());
    six.filter(|c| (0..3).all(|i| c[i] < c[i + 3])).ok_or_else(|| "use six numbers, the lower corner first".into())
}

fn level(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|level: &f32| level.is_finite()).ok_or_else(|| "use a number".into())
}

fn faces(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (100..=20_000_000).contains(n)).ok_or_else(|| "use 100 to 20000000".into())
}

fn share(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "use 0 to 1".into())
}

fn fps(text: &str) -> Result<f32, String> {
    let [least, most] = RATES;
    let rate = text.parse().ok().filter(|fps| (least..=most).contains(fps));
    rate.ok_or_else(|| format!("use {least} to {most} pictures a second"))
}

fn size(text: &str) -> Result<[u32; 2], String> {
    let parse = |side: &str| side.parse().ok().filter(|n| (1..=MAX_SIDE).contains(n));
    let sides = text.split_once(['x', 'X']).and_then(|(w, h)| Some([parse(w)?, parse(h)?]));
    sides.ok_or_else(|| format!("use WIDTHxHEIGHT, each from 1 to {MAX_SIDE}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_declarations_agree() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_lines_of_the_contract_are_understood() {
        for line in [
            "retort",
            "retort demo -o there",
            "retort train data --to hash -o out.safetensors --device cpu --seed 3 --preset paper --steps 10 --time 90s",
            "retort convert in.safetensors --to mlp --data d --resume --overwrite",
            "retort convert in.ply -o out.spz",
            "retort convert in.ply --to hash -o out.ingp",
            "retort render in.safetensors --orbit 8 --size 640x480 -o views",
            "retort render in.safetensors --camera cams.json -o out.png",
            "retort render in.safetensors --camera path.json --fps 29.97 -o out.mp4",
            "retort render in.safetensors --orbit 48 -o out.mp4 --overwrite",
            "retort mesh in.safetensors",
            "retort mesh in.ply -o out.glb --level 12.5 --resolution 128 --faces 20000 --texture 1024 --method density",
            "retort mesh in.toml --vertex-colors --keep 0 --lit --method depth --level -0.5",
            "retort eval in.safetensors --data d --split val",
            "retort --json -q info f.safetensors",
            "retort presets -v",
            "retort generate stool",
            "retort generate mushroom --to gaussians --loss vsd --prior builtin -o m.ply --steps 10 --seed 3",
            "retort edit ball.safetensors cube --source ball --box -1,-1,0,1,1,1 -o scene.toml",
            "retort gui",
            "retort gui a.safetensors scene.toml --device cpu",
            "retort bench pairs --data d",
            "retort bench pairs --data d --kinds hash,mlp -o there --resume",
            "retort bench prompts",
            "retort bench prompts --losses sds,mvsds --to voxels --seeds 3 --count 5 -o there --resume",
            "retort train d --to gaussians --set train.rays=4096 --set field.levels=8 --json",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn every_kind_of_the_registry_can_be_named() {
        for kind in Kind::ALL {
            let cli = parse(&format!("retort train d --to {kind}")).unwrap();
            assert!(matches!(cli.command, Some(Command::Train(Train { to, .. })) if to == *kind));
        }
    }

    #[test]
    fn wrong_usage_is_refused_with_code_2() {
        for line in [
            "retort fly",
            "retort train",
            "retort train d --to voxel",
            "retort convert in.ply",
            "retort convert in.ply -o out.spz --data d",
            "retort train d --to hash --time soon",
            "retort train d --to hash --steps 0",
            "retort train d --to hash --device tpu",
            "retort train d --to hash --set rays",
            "retort render f --camera c --orbit 3",
            "retort render f --size 10",
            "retort mesh f --texture 512 --vertex-colors",
            "retort mesh f --texture 16384",
            "retort mesh f --method guess",
            "retort mesh f --level nan",
            "retort mesh f --keep 2",
            "retort render f --fps 0",
            "retort render f --fps many",
            "retort render f --size 0x10",
            "retort render f --size 99999x10",
            "retort eval f",
            "retort eval f --data d --split all",
            "retort info f -q -v",
            "retort generate",
            "retort generate stool --loss nds",
            "retort edit f",
            "retort edit f cube --box 1,1,1,0,0,0",
            "retort edit f cube --box 0,0,0,1,1",
            "retort bench pairs",
            "retort bench pairs --data d --kinds hash,teapot",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        assert_eq!(parse("retort --help").unwrap_err().kind(), ErrorKind::DisplayHelp);
    }

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90s", 90.0), ("5m", 300.0), ("1h", 3600.0), ("1h30m", 5400.0), ("0.5s", 0.5), ("1m1s", 61.0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "90", "s", "-5s", "5 m", "1d", "0s", "1e3s", "1..5s", "nans", "99999999h", "5µ"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_sizes_and_flags_arrive() {
        let cli = parse("retort -vv render f --size 640x480 --set a.b=c=d --set x=1").unwrap();
        assert_eq!(cli.common.set, [("a.b".into(), "c=d".into()), ("x".into(), "1".into())]);
        assert_eq!(cli.common.verbose, 2);
        assert!(matches!(cli.command, Some(Command::Render(Render { size: Some([640, 480]), .. }))));
    }
}
