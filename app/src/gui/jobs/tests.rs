use super::curve::POINTS;
use super::*;

/// An order of a conversion so small that it is done in a second.
fn order(steps: u32) -> Order {
    let (field, made) = super::super::background::demo("cpu").expect("the built-in teacher");
    let set = |key: &str, value: &str| (key.to_string(), value.to_string());
    Order {
        lesson: Lesson::Teacher { objects: vec![field.into()], background: made.background },
        from: "converted from the demo".into(),
        kind: Kind::Voxels,
        preset: "fast".into(),
        set: vec![
            set("convert.rays", "256"),
            set("convert.views", "2"),
            set("convert.view_size", "32"),
            set("convert.growth", "[]"),
            set("field.resolution", "32"),
        ],
        options: RunOptions { steps: Some(steps), ..RunOptions::default() },
        device: "cpu".into(),
        name: "demo-voxels".into(),
        line: "retort convert demo.safetensors --to voxels".into(),
        resume: None,
    }
}

fn until(jobs: &mut Jobs, done: impl Fn(&Jobs) -> bool) -> Vec<Made> {
    let mut made = Vec::new();
    for _ in 0..40_000 {
        made.extend(jobs.poll());
        if done(jobs) {
            return made;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not within minutes: {:?}", jobs.rows().iter().map(|r| &r.phase).collect::<Vec<_>>());
}

#[test]
fn jobs_run_one_after_the_other_and_fail_alone() {
    let mut jobs = Jobs::new(Arc::new(|| ()));
    let first = jobs.order(order(4)).unwrap();
    let mut missing = order(4);
    missing.lesson = Lesson::Photos("/nowhere/photos".into());
    let second = jobs.order(missing).unwrap();
    let third = jobs.order(order(3)).unwrap();
    assert!(jobs.order(Order { preset: "slow".into(), ..order(1) }).is_err_and(|e| e.remedy.contains("fast")));
    jobs.poll();
    assert_eq!(jobs.row(third).unwrap().phase, Phase::Waiting);
    let made = until(&mut jobs, |jobs| !jobs.is_busy());
    assert_eq!(made.iter().map(|m| (m.id, m.made.steps)).collect::<Vec<_>>(), [(first, 4), (third, 3)]);
    assert!(made.iter().all(|m| m.field.kind() == Kind::Voxels));
    let Phase::Failed(what) = &jobs.row(second).unwrap().phase else { panic!("it has no photos") };
    assert!(what.contains("/nowhere/photos") && what.contains("check the path"), "{what}");
    let row = jobs.row(first).unwrap();
    assert!(row.phase == Phase::Done && !row.loss.points().is_empty() && !row.psnr.points().is_empty());
    jobs.clear();
    assert!(jobs.rows().is_empty() && jobs.active().is_none());
}

#[test]
fn a_job_is_paused_cancelled_and_gone_on_with() {
    let mut jobs = Jobs::new(Arc::new(|| ()));
    let id = jobs.order(order(1_000_000)).unwrap();
    until(&mut jobs, |jobs| jobs.student().is_some());
    jobs.pause(id, true);
    until(&mut jobs, |jobs| jobs.row(id).unwrap().phase == Phase::Paused);
    jobs.pause(id, false);
    until(&mut jobs, |jobs| jobs.row(id).unwrap().phase == Phase::Running);
    jobs.cancel(id);
    until(&mut jobs, |jobs| !jobs.is_busy());
    let Phase::Cancelled(Some(path)) = jobs.row(id).unwrap().phase.clone() else { panic!("no checkpoint") };
    assert!(path.is_file() && jobs.student().is_none());
    let done = jobs.row(id).unwrap().progress.as_ref().unwrap().step;
    jobs.go_on(id).unwrap();
    let again = jobs.rows()[0].id;
    until(&mut jobs, |jobs| jobs.row(again).unwrap().progress.is_some());
    assert!(jobs.row(id).is_none() && jobs.row(again).unwrap().progress.as_ref().unwrap().step > done);
    jobs.cancel(again);
    let waiting = jobs.order(order(5)).unwrap();
    jobs.cancel(waiting);
    assert_eq!(jobs.row(waiting).unwrap().phase, Phase::Cancelled(None));
    until(&mut jobs, |jobs| !jobs.is_busy());
}

#[test]
fn curves_stay_short_and_keep_their_ends() {
    let mut curve = Curve::default();
    for step in 1..=100_000 {
        curve.push(step, step as f32);
    }
    curve.push(100_001, f32::NAN);
    let points = curve.points();
    assert!(points.len() <= POINTS + 1 && points.len() > POINTS / 4, "{}", points.len());
    assert!(points[0][0] == 1.0 && points[points.len() - 1][0] > 99_000.0);
    assert!(points.windows(2).all(|w| w[0][0] < w[1][0]));
}

#[test]
fn closing_keeps_the_checkpoint_and_says_how_to_go_on() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("settings/unfinished");
    let mut jobs = Jobs::new(Arc::new(|| ()));
    assert_eq!(jobs.end(&folder).unwrap(), None, "nothing is at work");
    let id = jobs.order(order(1_000_000)).unwrap();
    let waiting = jobs.order(order(5)).unwrap();
    until(&mut jobs, |jobs| jobs.row(id).unwrap().progress.is_some());
    let kept = jobs.end(&folder).unwrap().expect("a checkpoint");
    assert!(kept.checkpoint == folder.join("demo-voxels.checkpoint") && kept.steps > 0 && !jobs.is_busy());
    assert_eq!(jobs.row(waiting).unwrap().phase, Phase::Cancelled(None));
    assert!(
        kept.line.starts_with("retort convert demo.safetensors --to voxels -o ") && kept.line.ends_with("--resume")
    );
    assert_eq!(std::fs::read_to_string(folder.join("demo-voxels.txt")).unwrap().trim_end(), kept.line);
    drop(jobs);
    // Its own temporary folder is gone; this is not, and it is gone on from.
    let mut jobs = Jobs::new(Arc::new(|| ()));
    let mut again = Order { resume: Some(kept.checkpoint), ..order(1_000_000) };
    again.options.time = Some(Duration::from_secs(1));
    let id = jobs.order(again).unwrap();
    let made = until(&mut jobs, |jobs| !jobs.is_busy());
    assert!(made.first().is_some_and(|made| made.made.steps > kept.steps), "{:?}", jobs.row(id).unwrap().phase);
    // A second one of the name does not replace the first.
    let id = jobs.order(order(1_000_000)).unwrap();
    until(&mut jobs, |jobs| jobs.row(id).unwrap().progress.is_some());
    assert!(jobs.end(&folder).unwrap().is_some_and(|kept| kept.checkpoint.ends_with("demo-voxels-2.checkpoint")));
}
