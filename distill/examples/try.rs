use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use retort_distill::{convert::Convert, evaluate::evaluate, preset::Preset, task::Task, train::Train, RunOptions};
use retort_fields::data::{load, LoadOptions, Split};
use retort_fields::files::{load as loadf, save, Provenance};
use retort_fields::registry::Kind;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let kind: Kind = a[3].parse().unwrap();
    let sets: Vec<(String, String)> = a[4..].iter().filter_map(|s| s.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
    let preset = Preset::load(&std::env::var("PRESET").unwrap_or("fast".into()), kind, &sets).unwrap();
    let device = retort_fields::device::choose("cpu").unwrap();
    let steps = std::env::var("STEPS").ok().map(|s| s.parse().unwrap());
    let time = std::env::var("TIME").ok().map(|s| std::time::Duration::from_secs(s.parse().unwrap()));
    let o = RunOptions { seed: 0, steps, time };
    let t0 = Instant::now();
    let datap = std::env::var("DATA").unwrap_or("/work/shared/data/lego_200".into());
    let data = Arc::new(load(Path::new(&datap), &LoadOptions::default()).unwrap());
    eprintln!("loaded {:?}", t0.elapsed());
    let mut task: Box<dyn Task> = if a[1] == "train" {
        Box::new(Train::new(data.clone(), &preset, &o, &device).unwrap())
    } else {
        let teacher = loadf(Path::new(&a[2]), &device).unwrap().0;
        Box::new(Convert::new(&teacher, &preset, &o, &device).unwrap())
    };
    eprintln!("ready {:?}", t0.elapsed());
    let t0 = Instant::now();
    loop {
        match task.step().unwrap() {
            ControlFlow::Continue(p) => {
                if let Some(n) = p.note { eprintln!("{n}"); }
                if let Some(psnr) = p.psnr { eprintln!("{:8.1}s {} {}/{} loss {:.6} psnr {:.2}", t0.elapsed().as_secs_f32(), p.stage, p.step, p.of, p.loss, psnr); }
            }
            ControlFlow::Break(o) => { eprintln!("done {o:?} in {:?}", t0.elapsed()); break; }
        }
    }
    let f = task.current();
    let out = std::env::var("OUT").unwrap_or("/tmp/out.safetensors".into());
    println!("bytes {}", save(&f, &Provenance::default(), Path::new(&out)).unwrap());
    let t0 = Instant::now();
    let test = data.split(Split::Test);
    let n = std::env::var("VIEWS").ok().map_or(test.len(), |s| s.parse().unwrap());
    let s = evaluate(&f, &test[..n.min(test.len())], [1.0; 3], &mut |_, _, _| true).unwrap();
    println!("psnr {:.3} ssim {:.4} eval {:?}", s.psnr, s.ssim, t0.elapsed());
}
