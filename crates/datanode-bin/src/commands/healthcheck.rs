//! `datanode healthcheck`: whether a node is ready, as an exit code.

use std::time::Duration;

use super::connect::AdminArgs;
use super::words;
use crate::{Exit, Failure};

/// Arguments of `datanode healthcheck`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to wait for the answer.
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    timeout: humantime::Duration,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the node once.
///
/// # Errors
/// [`Failure`] with [`Exit::NotReady`] or [`Exit::Unreachable`].
pub async fn run(args: Args) -> Result<(), Failure> {
    let Args { timeout, admin } = args;
    let status = admin.client(Duration::from(timeout))?.status().await?;
    if status.ready {
        return Ok(());
    }
    let stage = status.node.map_or("unknown", |node| words::stage(node.stage));
    Err(Failure::new(Exit::NotReady, anyhow::anyhow!("not ready: {stage}")))
}
