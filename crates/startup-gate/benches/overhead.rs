//! What the gate costs: the same units loaded through the gate and through a
//! plain bounded `JoinSet`. It measures no load of interest: each one is a
//! `spawn_blocking` that reads a small file, which is as cheap as a real load
//! gets, so the gate's share is as large as it gets.
//!
//! ```text
//! cargo bench -p startup-gate --bench overhead
//! ```
//!
//! How to read it. One line for each number of units: minimum, median and
//! maximum of the wall time of both ways, over rounds that alternate between
//! them and change who goes first, and the ratio of the medians. `added` is
//! what the gate adds to one unit. The gate's time is the whole way up, from
//! `Startup::new` to the open port: joins, loads, checks and confirmations of
//! all units, and the time-line; the plain set only loads. Both read on the
//! same runtime's blocking threads, with the same bound. Times of one machine
//! compare with each other, never with those of another; where the maximum is
//! far from the median the machine was busy, and the run should be repeated.
//! The last line is JSON for scripts, times in milliseconds.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use startup_gate::{Concurrency, Config, JoinTicket, LoadTicket, Startup, UnitFault, UnitSpec};
use tokio::task::{JoinSet, spawn_blocking};

const ROUNDS: usize = 9;
const UNITS: [usize; 2] = [300, 10_000];
const AT_ONCE: usize = 64;
const LANES: usize = 4;
const FILE_LEN_BYTES: usize = 4096;

fn main() {
    // Test runners start every target to list its tests; only `cargo bench` says this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("startup-gate-overhead-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("make a directory for the files");
    let results: Vec<_> = UNITS.iter().map(|units| compare(&dir, *units)).collect();
    std::fs::remove_dir_all(&dir).expect("remove the files");
    let results: Vec<_> = results.iter().map(Comparison::to_json).collect();
    println!(
        "{}",
        serde_json::json!({ "bench": "overhead", "at_once": AT_ONCE, "rounds": ROUNDS, "results": results })
    );
}

/// Both ways with the same units.
struct Comparison {
    units: usize,
    gate: Times,
    plain: Times,
}

impl Comparison {
    fn ratio(&self) -> f64 {
        self.gate.median / self.plain.median
    }

    fn added_us(&self) -> f64 {
        (self.gate.median - self.plain.median) * 1_000.0 / self.units as f64
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "units": self.units,
            "gate_ms": self.gate.to_json(),
            "plain_ms": self.plain.to_json(),
            "ratio": self.ratio(),
            "added_us_per_unit": self.added_us(),
        })
    }
}

/// In milliseconds.
struct Times {
    min: f64,
    median: f64,
    max: f64,
}

impl Times {
    fn of(mut rounds: Vec<Duration>) -> Self {
        rounds.sort_unstable();
        let ms = |at: usize| rounds[at].as_secs_f64() * 1_000.0;
        Self { min: ms(0), median: ms(rounds.len() / 2), max: ms(rounds.len() - 1) }
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "min": self.min, "median": self.median, "max": self.max })
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} / {:.1} / {:.1} ms", self.min, self.median, self.max)
    }
}

fn compare(dir: &Path, units: usize) -> Comparison {
    let files: Arc<[PathBuf]> = (0..units).map(|unit| dir.join(format!("{unit}"))).collect();
    for (unit, path) in files.iter().enumerate() {
        let byte = u8::try_from(unit % 251).expect("below 251");
        std::fs::write(path, [byte; FILE_LEN_BYTES]).expect("write a file");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("make a runtime");
    let through_gate = || timed(|| runtime.block_on(gate(&files)));
    let through_set = || timed(|| runtime.block_on(plain(&files)));
    // Warm: the files are in the page cache, the blocking threads are there.
    through_gate();
    through_set();
    let (mut of_gate, mut of_plain) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            of_gate.push(through_gate());
            of_plain.push(through_set());
        } else {
            of_plain.push(through_set());
            of_gate.push(through_gate());
        }
    }
    let (gate, plain) = (Times::of(of_gate), Times::of(of_plain));
    let compared = Comparison { units, gate, plain };
    println!(
        "{units} units, {AT_ONCE} at once, {ROUNDS} rounds, min / median / max: \
         gate {}, plain {}; ratio {:.2}, added {:.1} us a unit",
        compared.gate,
        compared.plain,
        compared.ratio(),
        compared.added_us(),
    );
    compared
}

fn timed(run: impl FnOnce() -> u64) -> Duration {
    let began = Instant::now();
    // Black-boxed so that no read is left out.
    assert!(std::hint::black_box(run()) > 0, "something was read");
    began.elapsed()
}

/// The whole way up; returns the sum of what was read.
async fn gate(files: &Arc<[PathBuf]>) -> u64 {
    let bound = Concurrency::new(AT_ONCE / LANES, AT_ONCE);
    let config = Config {
        join_concurrency: bound,
        load_concurrency: bound,
        check_concurrency: bound,
        ..Config::default()
    };
    let startup = Startup::new(config, Vec::new()).expect("a good config");
    let units = (0..files.len()).map(|unit| UnitSpec::new(unit).lane(unit % LANES));
    let join = |ticket: JoinTicket<usize>| async { ticket.log_readable() };
    let files = Arc::clone(files);
    let load = move |ticket: LoadTicket<usize>, _vote| {
        let files = Arc::clone(&files);
        async move {
            let unit = *ticket.unit();
            let read = spawn_blocking(move || read(&files[unit])).await;
            read.map_err(UnitFault::failed)?.map_err(UnitFault::unreadable)
        }
    };
    let sum = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let total = Arc::clone(&sum);
    let check = move |_, read: u64| {
        total.fetch_add(read, std::sync::atomic::Ordering::Relaxed);
        async { Ok(()) }
    };
    let startup = startup.load_joined(units, join, load, check).await.expect("loads");
    let startup = startup.check(async { Ok(()) }).await.expect("fit");
    let startup = startup.elect(drop, |_| async { Ok(()) }).await.expect("confirmed");
    let (serving, ()) = startup.listen(|_right| async { Ok(()) }).await.expect("opens");
    assert!(serving.handle().is_open());
    sum.load(std::sync::atomic::Ordering::Relaxed)
}

/// What one writes without a gate; returns the sum of what was read.
async fn plain(files: &Arc<[PathBuf]>) -> u64 {
    let mut tasks = JoinSet::new();
    let mut sum = 0;
    for unit in 0..files.len() {
        if tasks.len() == AT_ONCE {
            sum += tasks.join_next().await.expect("not empty").expect("no panic");
        }
        let files = Arc::clone(files);
        tasks.spawn(async move {
            let read = spawn_blocking(move || read(&files[unit])).await;
            read.expect("no panic").expect("readable")
        });
    }
    while let Some(read) = tasks.join_next().await {
        sum += read.expect("no panic");
    }
    sum
}

fn read(path: &Path) -> std::io::Result<u64> {
    let mut bytes = Vec::with_capacity(FILE_LEN_BYTES);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes.iter().map(|byte| u64::from(*byte)).sum())
}
