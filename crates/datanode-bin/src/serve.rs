//! `datanode serve`: the wiring diagram of a node.

use std::path::PathBuf;

use crate::Failure;

/// Arguments of `datanode serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file. Without one: a single node on loopback that
    /// keeps its data in ./datanode-data.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, above file and environment: `--set listen.client=0.0.0.0:17310`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Open the port even when more partitions than `startup.max_quarantined`
    /// are quarantined.
    #[arg(long)]
    pub accept_degraded: bool,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// [`Failure`] with the exit code it deserves.
pub fn run(_args: Args) -> Result<(), Failure> {
    todo!()
}
