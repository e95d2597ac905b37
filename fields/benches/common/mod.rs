//! What the benches share: timing, and one line of JSON for each, of the same form as the PyTorch yardsticks'
//! (`tests/yardstick`), whose inputs and results they repeat.
//!
//! `cargo bench --workspace --bench kernels -- [--repeats N] [--warmup N] [--fresh] [PART OF A NAME]...`

#[path = "../../../app/src/memory.rs"]
mod memory;

use std::hint::black_box;
use std::time::Instant;

use retort_fields::rng::Rng;

/// How to measure.
pub struct Bench {
    repeats: usize,
    warmup: usize,
    names: Vec<String>,
}

impl Bench {
    /// From the command line. `--fresh` leaves the allocator as it comes, to measure what keeping buffers gains.
    ///
    /// # Panics
    /// When a number is none.
    pub fn new() -> Self {
        let mut bench = Self { repeats: 15, warmup: 3, names: Vec::new() };
        let mut keep = true;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number follows");
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--repeats" => bench.repeats = number(),
                "--warmup" => bench.warmup = number(),
                "--fresh" => keep = false,
                _ => bench.names.push(argument),
            }
        }
        if keep {
            memory::keep_large_buffers();
        }
        bench
    }

    /// Whether the command line asks for this one.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|n| name.contains(n))
    }

    /// Runs `work` again and again and prints a line: the median and the least time, processor time of all threads, and
    /// `check`, a number of the first result, which has to be `expected`, as the yardstick gives it, to 1e-4.
    ///
    /// # Panics
    /// When it is another number: then the two do not do the same work.
    pub fn run<R>(
        &self,
        name: &str,
        n: usize,
        expected: Option<f64>,
        mut work: impl FnMut() -> R,
        check: impl FnOnce(R) -> f64,
    ) {
        if !self.wants(name) {
            return;
        }
        let check = check(work());
        if let Some(expected) = expected {
            assert!((check / expected - 1.0).abs() < 1e-4, "{name}: check is {check}, the yardstick's is {expected}");
        }
        for _ in 1..self.warmup {
            black_box(work());
        }
        let mut times = Vec::with_capacity(self.repeats);
        let cpu = cpu_ms();
        for _ in 0..self.repeats.max(1) {
            let start = Instant::now();
            black_box(work());
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let cpu = (cpu_ms() - cpu) / times.len() as f64;
        times.sort_by(f64::total_cmp);
        println!(
            "{{\"bench\": \"{name}\", \"median_ms\": {:.3}, \"min_ms\": {:.3}, \"cpu_ms\": {cpu:.3}, \"n\": {n}, \
             \"repeats\": {}, \"threads\": {}, \"peak_mib\": {}, \"check\": {check:?}}}",
            times[times.len() / 2],
            times[0],
            times.len(),
            rayon::current_num_threads(),
            peak_mib(),
        );
    }
}

/// Processor time of all threads so far, milliseconds; 0 where the system does not tell.
fn cpu_ms() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.filter_map(|thread| of(thread.ok()?.path())).sum::<f64>() * 1e-6
}

/// The most memory that the process has had at once, MiB; 0 where the system does not tell.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// The first `n` values of `Rng::new(1, name)` in `[low, high)`.
pub fn uniform(name: &str, n: usize, low: f32, high: f32) -> Vec<f32> {
    let mut rng = Rng::new(1, name);
    (0..n).map(|_| rng.range(low, high)).collect()
}
