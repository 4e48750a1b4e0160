//! `cargo xtask bench startup`: how long starts take, and what the gate costs.
//! `cargo xtask bench idle`: what partitions cost that nobody uses.
//!
//! The measurements themselves are `datanode trial`; here it is built and called.

use std::process::Command;

use anyhow::Result;

use crate::{cargo, setup, tool};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Restart one node, and start all of them cold, by the number of partitions
    Startup(Startup),
    /// Watch a cluster that nobody uses, then time the first requests
    Idle(Idle),
}

#[derive(clap::Args)]
struct Idle {
    /// Partitions, three replicas each; several are measured in turn
    #[arg(long, default_value = "100,1000")]
    partitions: String,
    /// How long each idle cluster is watched, in seconds
    #[arg(long, default_value_t = 20)]
    window_s: u32,
    /// Only `asleep` or only `awake`; both without
    #[arg(long)]
    only: Option<String>,
    /// Further settings of the nodes, as for `datanode serve --set`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Startup {
    /// Partitions, three replicas each; several are measured in turn
    #[arg(long, default_value = "300")]
    partitions: String,
    /// How often each start is measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Extents in each partition
    #[arg(long, default_value_t = 0)]
    extents: u64,
    /// How long each extent is, in bytes
    #[arg(long, default_value_t = 1024)]
    extent_bytes: u32,
    /// Kill a node also when it has this much to replay, in MiB, at most 24
    #[arg(long, default_value_t = 0)]
    unflushed_mib: u32,
    /// Each load of a partition takes so many milliseconds longer
    #[arg(long, default_value_t = 0)]
    load_delay_ms: u64,
    /// Further settings of the nodes, as for `datanode serve --set`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::for_build()?;
    eprintln!("xtask: building datanode (release; RocksDB takes minutes the first time)");
    tool::run(&mut cargo::cargo(["build", "--release", "--quiet", "--package", "datanode-bin"]))?;
    let mut trial = Command::new(cargo::target_dir().join("release/datanode"));
    trial.arg("trial");
    match &args.what {
        What::Startup(args) => {
            trial.args(["startup", "--partitions", &args.partitions]);
            trial.args(["--rounds", &args.rounds.to_string()]);
            trial.args(["--extents", &args.extents.to_string()]);
            trial.args(["--extent-bytes", &args.extent_bytes.to_string()]);
            trial.args(["--unflushed-mib", &args.unflushed_mib.to_string()]);
            trial.args(["--load-delay-ms", &args.load_delay_ms.to_string()]);
            trial.args(args.set.iter().flat_map(|set| ["--set", set]));
            trial.args(args.json.then_some("--json"));
        }
        What::Idle(args) => {
            trial.args(["idle", "--partitions", &args.partitions]);
            trial.args(["--window-s", &args.window_s.to_string()]);
            trial.args(args.only.iter().flat_map(|only| ["--only", only]));
            trial.args(args.set.iter().flat_map(|set| ["--set", set]));
            trial.args(args.json.then_some("--json"));
        }
    }
    tool::run(&mut trial)
}
