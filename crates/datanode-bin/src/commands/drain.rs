//! `datanode drain`: takes one node out of service, the first half of a stop: it
//! is not ready and leads nothing, and its port stays open.

use std::time::{Duration, Instant};

use datanode_client::AdminClient;
use serde::Serialize;

use super::connect::AdminArgs;
use crate::Failure;
use crate::output::{Output, Rows};

/// How often `--wait` asks for what is left.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `datanode drain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Return only when the node leads nothing that another one could lead.
    #[arg(long)]
    wait: bool,
    /// Take the node back into service.
    #[arg(long, conflicts_with = "wait")]
    undo: bool,
    /// How long to try.
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    timeout: humantime::Duration,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Drained {
    endpoint: String,
    leaders_before: u64,
    leaders_after: u64,
    sole_voters: u64,
    alone: u64,
}

/// Drains the node.
///
/// # Errors
/// [`Failure`] when it does not answer, or with `--wait` still leads when the
/// time is up.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Args { wait, undo, timeout, admin, output } = args;
    let client = admin.client(*timeout)?;
    let nodes: Vec<AdminClient> = client.each().collect();
    let [node] = nodes.as_slice() else {
        return Err(Failure::usage("drain takes one node at a time: give one endpoint"));
    };
    let deadline = Instant::now() + *timeout;
    let mut drained = ask(node, undo).await?;
    while wait && drained.leaders_after > 0 && Instant::now() < deadline {
        tokio::time::sleep(ASK_EVERY).await;
        let now = ask(node, undo).await?;
        drained = Drained { leaders_before: drained.leaders_before, ..now };
    }
    output.print(&drained, |drained| {
        let mut rows =
            Rows::new(&["ENDPOINT", ">BEFORE", ">AFTER", ">SOLE VOTERS", ">OTHERS AWAY"]);
        rows.push([
            drained.endpoint.clone(),
            drained.leaders_before.to_string(),
            drained.leaders_after.to_string(),
            drained.sole_voters.to_string(),
            drained.alone.to_string(),
        ]);
        rows
    })?;
    if wait && drained.leaders_after > 0 {
        let left = drained.leaders_after;
        return Err(anyhow::anyhow!("the node still leads {left} partitions").into());
    }
    Ok(())
}

async fn ask(node: &AdminClient, undo: bool) -> Result<Drained, Failure> {
    let answer = node.drain(undo).await?;
    Ok(Drained {
        endpoint: node.endpoints().next().unwrap_or_default().to_owned(),
        leaders_before: answer.leaders_before,
        leaders_after: answer.leaders_after,
        sole_voters: answer.sole_voters,
        alone: answer.alone,
    })
}
