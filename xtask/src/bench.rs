//! `cargo xtask bench startup`: how long starts take, and what the gate costs.
//!
//! The measurement itself is `datanode trial startup`; here it is built and
//! called.

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
}

#[derive(clap::Args)]
struct Startup {
    /// Partitions, three replicas each; several are measured in turn
    #[arg(long, default_value = "300")]
    partitions: String,
    /// How often each start is measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Each load of a partition takes so many milliseconds longer
    #[arg(long, default_value_t = 0)]
    load_delay_ms: u64,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let What::Startup(args) = &args.what;
    setup::for_build()?;
    eprintln!("xtask: building datanode (release; RocksDB takes minutes the first time)");
    tool::run(&mut cargo::cargo(["build", "--release", "--quiet", "--package", "datanode-bin"]))?;
    let mut trial = Command::new(cargo::target_dir().join("release/datanode"));
    trial.args(["trial", "startup", "--partitions", &args.partitions]);
    trial.args(["--rounds", &args.rounds.to_string()]);
    trial.args(["--load-delay-ms", &args.load_delay_ms.to_string()]);
    trial.args(args.json.then_some("--json"));
    tool::run(&mut trial)
}
