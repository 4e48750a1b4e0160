//! `cargo xtask sim --scale`: what the nodes of a large cluster say to each other,
//! and how many elections it takes, beside what the model in docs/cost.md says.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cargo;

/// The full size takes minutes, more where others work on the machine.
const TIMEOUT: Duration = Duration::from_secs(3 * 3600);

/// How large.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) seed: u64,
    pub(super) nodes: u64,
    pub(super) groups: u64,
    pub(super) writes: u64,
}

/// What `cargo xtask test` runs: as many replicas a node as fit into a minute.
const REDUCED: Size = Size { seed: 1, nodes: 9, groups: 270, writes: 6 };

/// One run, for people and programs.
pub(super) fn run(sim: &Path, size: Size, loud: bool, json: bool) -> Result<()> {
    let ran = run_once(sim, size, loud)?;
    print!("{}", ran.said);
    println!("{} s, {} MiB at most", ran.seconds, ran.peak_mib);
    if json {
        let mut all = ran.report.clone();
        all["seconds"] = json!(ran.seconds);
        all["peak_rss_mib"] = json!(ran.peak_mib);
        println!("{all}");
    }
    ran.passed()
}

/// A small cluster, twice: it must come to the same both times.
pub(super) fn run_reduced(sim: &Path) -> Result<()> {
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| run_once(sim, REDUCED, false));
        let second = run_once(sim, REDUCED, false);
        (first.join().expect("it does not panic"), second)
    });
    let (first, second) = (first?, second?);
    print!("{}", first.said);
    first.passed()?;
    if first.report != second.report {
        bail!("two runs at scale of one seed differ");
    }
    Ok(())
}

struct Ran {
    /// All but its last line.
    said: String,
    report: Value,
    seconds: u64,
    peak_mib: u64,
}

impl Ran {
    fn passed(&self) -> Result<()> {
        let problems = self.report["problems"].as_array().context("a list of problems")?;
        if let Some(first) = problems.first() {
            bail!("{} problems at scale, the first: {first}", problems.len());
        }
        Ok(())
    }
}

fn run_once(sim: &Path, size: Size, loud: bool) -> Result<Ran> {
    let Size { seed, nodes, groups, writes } = size;
    let began = Instant::now();
    // A file, not a pipe: nobody reads meanwhile.
    let mut path = cargo::simulator_dir().join(format!("scale-{}", std::process::id()));
    path.set_extension(format!("{:?}", thread::current().id()));
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut command = Command::new(sim);
    command.args([seed.to_string(), "--scale".into(), "--json".into()]);
    command.args(["--nodes".into(), nodes.to_string()]);
    command.args(["--groups".into(), groups.to_string()]);
    command.args(["--writes".into(), writes.to_string()]);
    command.args(loud.then_some("--loud")).stdin(Stdio::null()).stdout(file);
    // openraft reserves 256 KiB a group and touches little of it. The C library gives it
    // memory of its own, never touched, only while it is told to.
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    let mut child = command.spawn().with_context(|| format!("start {}", sim.display()))?;
    let mut peak_mib = 0;
    while child.try_wait()?.is_none() {
        peak_mib = peak_rss_mib(child.id()).unwrap_or(peak_mib);
        if began.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            bail!("the run at scale did not end within {} s", TIMEOUT.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
    let output = std::fs::read_to_string(&path)?;
    std::fs::remove_file(&path)?;
    let output = output.trim_end();
    let (said, last) = output.rsplit_once('\n').unwrap_or(("", output));
    let report = serde_json::from_str(last).context("read its report, which is its last line")?;
    let seconds = began.elapsed().as_secs();
    Ok(Ran { said: format!("{said}\n"), report, seconds, peak_mib })
}

/// The most memory that a process ever had.
fn peak_rss_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
