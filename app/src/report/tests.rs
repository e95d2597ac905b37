use super::*;

fn keys(object: &impl Serialize) -> String {
    serde_json::to_string(object).unwrap()
}

#[test]
fn progress_is_the_contracts_object() {
    let line = ProgressLine {
        event: "progress",
        stage: "volume",
        step: 120,
        of: 5000,
        loss: Some(0.5),
        psnr: Some(28.25),
        eta_s: Some(3.0),
    };
    let wanted = r#"{"event":"progress","stage":"volume","step":120,"of":5000,"loss":0.5,"psnr":28.25,"eta_s":3.0}"#;
    assert_eq!(keys(&line), wanted);
    let line = ProgressLine { loss: None, psnr: None, eta_s: None, ..line };
    assert_eq!(keys(&line), r#"{"event":"progress","stage":"volume","step":120,"of":5000}"#);
}

#[test]
fn done_holds_what_applies() {
    let done = Done {
        out: Some("a.safetensors".into()),
        seconds: Some(1.5),
        steps: Some(3),
        bytes: Some(9),
        psnr_teacher: Some(30.0),
        psnr: Some(f32::INFINITY),
        ssim: Some(0.5),
        kinds: Vec::new(),
    };
    let wanted =
        r#"{"event":"done","out":"a.safetensors","seconds":1.5,"steps":3,"bytes":9,"psnr_teacher":30.0,"ssim":0.5}"#;
    assert_eq!(keys(&DoneLine { event: "done", done: &done.finite() }), wanted);
    let kinds = vec![KindDone { kind: "mlp", done: Done { psnr: Some(f32::NAN), bytes: Some(1), ..Done::default() } }];
    let several = Done { kinds, ..Done::default() };
    let wanted = r#"{"event":"done","kinds":[{"kind":"mlp","bytes":1}]}"#;
    assert_eq!(keys(&DoneLine { event: "done", done: &several.finite() }), wanted);
}

#[test]
fn errors_are_the_contracts_object() {
    let line = ErrorLine { event: "error", what: "it \"is\"", file: Some("a b".into()), remedy: "do" };
    assert_eq!(keys(&line), r#"{"event":"error","what":"it \"is\"","file":"a b","remedy":"do"}"#);
    let line = ErrorLine { file: None, remedy: "", ..line };
    assert_eq!(keys(&line), r#"{"event":"error","what":"it \"is\""}"#);
}

#[test]
fn the_pace_follows_the_steps() {
    let start = Instant::now();
    let mut pace = Pace::default();
    let at = |s: f64| start + Duration::from_secs_f64(s);
    assert_eq!(pace.left(101, 200, at(0.0)), None, "one point has no pace");
    let left = pace.left(111, 200, at(1.0)).unwrap();
    assert!((left - 8.9).abs() < 1e-6, "{left}");
    // Twice as slow for a long time: the average arrives there.
    for i in 1..=60 {
        pace.left(111 + i, 200, at(1.0 + 0.2 * f64::from(i) * 10.0));
    }
    let left = pace.left(172, 200, at(123.0)).unwrap();
    assert!((left / 28.0 - 2.0).abs() < 0.01, "{left}");
    assert_eq!(pace.left(200, 200, at(130.0)), Some(0.0));
    assert_eq!(pace.left(200, 100, at(131.0)), Some(0.0), "beyond the end");
}

#[test]
fn numbers_for_people() {
    assert_eq!([clock(0.4), clock(65.0), clock(7380.0)], ["0 s", "1 min 5 s", "2 h 3 min"]);
    assert_eq!([size(999), size(4_100_000)], ["999 B", "4.1 MB"]);
    let progress = Progress { loss: 0.001, psnr: Some(28.311), ..Progress::default() };
    assert_eq!(details(&progress, Some(48.0)), "loss 0.00100, 28.31 dB, 48 s left");
    assert_eq!(details(&Progress { loss: f32::NAN, ..Progress::default() }, None), "");
    assert_eq!(one_line("a\n  b"), "a b");
}
