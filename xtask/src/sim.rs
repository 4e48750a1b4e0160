//! `cargo xtask sim`: the simulated cluster, many seeds, two of them at a time.
//!
//! The work itself is the program `sim` of the crate cluster-sim. It is built
//! without RocksDB, and with a flag that makes tokio's choices follow the seed;
//! so it has a target directory of its own, `sim` in the usual one. Each seed is
//! a process: what ran before in it would change it.

mod outcome;
mod scale;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{cargo, tool};
use outcome::{Caught, Outcome, Total};
use scale::Size;

/// No seed takes so long, however busy the machine is.
const SEED_TIMEOUT: Duration = Duration::from_secs(120);
/// A planted bug must be caught within so many seeds.
const PLANTED_SEEDS: u64 = 50;
/// The bugs, as the program calls them.
const PLANTED: [&str; 3] = ["ack-before-sync", "vote-lost", "leader-restored"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many of them to run twice, to see that nothing differs
    #[arg(long, default_value_t = 5)]
    twice: u64,
    /// Then plant each known bug, which must be caught within 50 seeds
    #[arg(long)]
    planted: bool,
    /// Count what the nodes of a large cluster say, in place of breaking small ones
    #[arg(long)]
    scale: bool,
    /// Its nodes
    #[arg(long, default_value_t = 50, requires = "scale")]
    nodes: u64,
    /// Its partitions, three replicas each
    #[arg(long, default_value_t = 10_000, requires = "scale")]
    groups: u64,
    /// Writes a second while its clients write
    #[arg(long, default_value_t = 200, requires = "scale")]
    writes: u64,
    /// Show every event, one seed after the other; at scale, where it is
    #[arg(long)]
    loud: bool,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

impl Args {
    /// What `cargo xtask test` runs.
    pub(crate) fn for_tests() -> Self {
        Self {
            seeds: 100,
            first: 1,
            twice: 5,
            planted: true,
            scale: false,
            nodes: 0,
            groups: 0,
            writes: 0,
            loud: false,
            json: false,
        }
    }
}

/// A small cluster of those that `--scale` counts, as `cargo xtask test` runs it.
pub(crate) fn run_reduced_scale() -> Result<()> {
    eprintln!("xtask: a cluster at scale, reduced");
    scale::run_reduced(&build()?)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    let sim = build()?;
    if args.scale {
        let Args { first: seed, nodes, groups, writes, .. } = *args;
        return scale::run(&sim, Size { seed, nodes, groups, writes }, args.loud, args.json);
    }
    let seeds: Vec<u64> = (args.first..args.first + args.seeds).collect();
    eprintln!("xtask: {} seeds of the simulated cluster", seeds.len());
    let mut total = Total::default();
    for outcome in run_all(&sim, &seeds, args.loud)? {
        if let Some(why) = &outcome.failure {
            println!("seed {} failed: {why}", outcome.seed);
            println!("  again: cargo xtask sim --first {} --seeds 1 --loud", outcome.seed);
        }
        total.add(&outcome);
    }
    let again: Vec<u64> = seeds.iter().copied().take(usize::try_from(args.twice)?).collect();
    for outcome in run_all(&sim, &again, false)? {
        total.compare(&outcome);
    }
    if args.planted {
        for bug in PLANTED {
            let caught = catch(&sim, bug)?;
            println!("{}", caught.line());
            total.planted.push(caught);
        }
    }
    println!("{}", total.line());
    if args.json {
        println!("{}", total.json(args.first, began.elapsed()));
    }
    let problems = total.problems();
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// Builds the program, away from the other builds.
fn build() -> Result<PathBuf> {
    eprintln!("xtask: building the simulator (a few minutes the first time)");
    tool::run(&mut cargo::simulator(["build", "--quiet", "--bin", "sim"]))?;
    Ok(cargo::simulator_dir().join("debug/sim"))
}

/// Runs seeds, as many at once as there are cores; in their order if they are
/// to be heard.
fn run_all(sim: &Path, seeds: &[u64], loud: bool) -> Result<Vec<Outcome>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = if loud { 1 } else { cores };
    let next = AtomicU64::new(0);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let nth = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
            let Some(seed) = seeds.get(nth) else { return Ok(outcomes) };
            outcomes.push(run_one(sim, *seed, loud, None)?);
        }
    };
    let mut outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let done = running.into_iter().map(|running| running.join().expect("no worker panics"));
        done.collect::<Result<Vec<_>>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    outcomes.sort_by_key(|outcome| outcome.seed);
    Ok(outcomes)
}

/// Runs one seed in a process of its own.
fn run_one(sim: &Path, seed: u64, loud: bool, plant: Option<&str>) -> Result<Outcome> {
    let mut command = Command::new(sim);
    command.arg(seed.to_string()).arg("--json").stdin(Stdio::null());
    command.args(loud.then_some("--loud"));
    if let Some(bug) = plant {
        command.args(["--plant", bug]);
    }
    // What it says on its way to a failure is much: kept for who asks.
    let said = cargo::simulator_dir().join(format!("seed-{seed}.log"));
    if !loud {
        let file = File::create(&said).with_context(|| format!("create {}", said.display()))?;
        command.stderr(file);
    }
    // A file, not a pipe: a seed with many violations has much to say, and nobody
    // reads meanwhile.
    let report = cargo::simulator_dir().join(format!("seed-{seed}.json"));
    let file = File::create(&report).with_context(|| format!("create {}", report.display()))?;
    command.stdout(file);
    let mut child = command.spawn().with_context(|| format!("start {}", sim.display()))?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > SEED_TIMEOUT {
            child.kill()?;
            child.wait()?;
            let why = format!("it did not end within {} s", SEED_TIMEOUT.as_secs());
            return Ok(Outcome::failed(seed, why));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let outcome = Outcome::read(seed, &std::fs::read_to_string(&report)?, &said);
    std::fs::remove_file(&report)?;
    if outcome.failure.is_none() && !loud {
        std::fs::remove_file(&said)?;
    }
    Ok(outcome)
}

/// Plants a bug and runs seeds until one reports a violation: to die of it is no
/// report.
fn catch(sim: &Path, bug: &'static str) -> Result<Caught> {
    for seed in 1..=PLANTED_SEEDS {
        let outcome = run_one(sim, seed, false, Some(bug))?;
        if let Some(by) = outcome.failure.filter(|_| outcome.reported) {
            return Ok(Caught { bug, at_seed: Some(seed), by });
        }
    }
    Ok(Caught { bug, at_seed: None, by: String::new() })
}
