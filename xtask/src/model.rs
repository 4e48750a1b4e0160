//! `cargo xtask model`: the start-up protocol, checked in every reachable state.
//!
//! The work itself is the program `model` of the crate cluster-sim; here it is
//! built, with the tests' profile so that RocksDB is not compiled again, and run.

use std::process::Command;

use anyhow::Result;

use crate::{cargo, setup, tool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// The small scenarios only
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::for_build()?;
    eprintln!("xtask: building the model (RocksDB takes minutes the first time)");
    // With the whole workspace's features, as the tests are built.
    tool::run(&mut cargo::cargo(["build", "--workspace", "--quiet", "--bin", "model"]))?;
    let mut model = Command::new(cargo::target_dir().join("debug/model"));
    model.args(args.json.then_some("--json")).args(args.quick.then_some("--quick"));
    tool::run(&mut model)
}
