//! `cargo xtask demo`: the main job. Three real nodes store a real tree, are
//! restarted under load one by one, and give every byte back.
//!
//! The job itself is `datanode demo --from DIR`; here it is built and fed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{cargo, setup, tool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tree to store [default: the Rust toolchain's own files]
    #[arg(long)]
    from: Option<PathBuf>,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3)]
    nodes: u32,
    /// Partitions, three replicas each
    #[arg(long, default_value_t = 64)]
    partitions: u32,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// Leave the cluster up and print how to reach it
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::for_build()?;
    eprintln!("xtask: building datanode (release; RocksDB takes minutes the first time)");
    tool::run(&mut cargo::cargo(["build", "--release", "--quiet", "--package", "datanode-bin"]))?;
    let from = match &args.from {
        Some(dir) => dir.clone(),
        None => tool::read(Command::new("rustc").args(["--print", "sysroot"]))?.into(),
    };
    let mut demo = Command::new(cargo::target_dir().join("release/datanode"));
    demo.arg("demo").arg("--from").arg(from);
    demo.args(["--nodes", &args.nodes.to_string(), "--partitions", &args.partitions.to_string()]);
    demo.args(args.json.then_some("--json")).args(args.keep.then_some("--keep"));
    tool::run(&mut demo)
}
