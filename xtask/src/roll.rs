//! `cargo xtask roll`: a rolling restart of real nodes under load. Clients must
//! not notice: no error, nothing lost, nothing stale.
//!
//! The trial itself is `datanode trial roll`; here it is built and called.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{cargo, python, setup, tool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Nodes of the cluster [default: 3, or 4 with `--during membership`]
    #[arg(long)]
    nodes: Option<u32>,
    /// Partitions, three replicas each
    #[arg(long, default_value_t = 300)]
    partitions: u32,
    /// How often every node is restarted
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Workers of our own client; may be 0 with `--python` [default: 32]
    #[arg(long)]
    clients: Option<u32>,
    /// Requests a second of all workers together, due at fixed times [default: 600]
    #[arg(long)]
    rate: Option<u64>,
    /// A closed loop instead: milliseconds from an answer to the next request
    #[arg(long, conflicts_with = "rate")]
    pause_ms: Option<u64>,
    /// How long the load runs before the first restart, in seconds
    #[arg(long, default_value_t = 60)]
    baseline_s: u64,
    /// Restarted nodes load each partition so many milliseconds slower
    #[arg(long)]
    load_delay_ms: Option<u64>,
    /// End nodes with SIGKILL in place of SIGTERM
    #[arg(long)]
    kill: bool,
    /// Run a stock Python client too
    #[arg(long)]
    python: bool,
    /// Roll while replicas are moved (`membership`), or while nodes that come
    /// back have to install snapshots (`snapshot`)
    #[arg(long)]
    during: Option<String>,
    /// Draw latency over time
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Fail where a bound on time is broken, too
    #[arg(long)]
    strict_bounds: bool,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::for_build()?;
    let interpreter = if args.python { Some(python::environment()?) } else { None };
    eprintln!("xtask: building datanode (release; RocksDB takes minutes the first time)");
    tool::run(&mut cargo::cargo(["build", "--release", "--quiet", "--package", "datanode-bin"]))?;
    let mut roll = Command::new(cargo::target_dir().join("release/datanode"));
    roll.args(["trial", "roll"]);
    for (flag, value) in [
        ("--nodes", args.nodes.map(|nodes| nodes.to_string())),
        ("--partitions", Some(args.partitions.to_string())),
        ("--rounds", Some(args.rounds.to_string())),
        ("--clients", args.clients.map(|clients| clients.to_string())),
        ("--rate", args.rate.map(|rate| rate.to_string())),
        ("--pause-ms", args.pause_ms.map(|ms| ms.to_string())),
        ("--baseline-s", Some(args.baseline_s.to_string())),
        ("--load-delay-ms", args.load_delay_ms.map(|ms| ms.to_string())),
        ("--during", args.during.clone()),
    ] {
        if let Some(value) = value {
            roll.args([flag, &value]);
        }
    }
    for (flag, path) in [("--python", &interpreter), ("--plot", &args.plot)] {
        if let Some(path) = path {
            roll.arg(flag).arg(path);
        }
    }
    for (flag, set) in
        [("--kill", args.kill), ("--strict-bounds", args.strict_bounds), ("--json", args.json)]
    {
        roll.args(set.then_some(flag));
    }
    tool::run(&mut roll)
}
