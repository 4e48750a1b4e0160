//! `datanode wait-ready`: returns when the gate is open, or the time is up.

use std::time::{Duration, Instant};

use datanode_client::AdminClient;
use futures::future::join_all;
use serde::Serialize;

use super::connect::AdminArgs;
use super::words;
use crate::output::{Format, Output};
use crate::{Exit, Failure};

/// How often a node that is not ready is asked again.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Arguments of `datanode wait-ready`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to wait for every one of the nodes.
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    timeout: humantime::Duration,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Ready {
    endpoint: String,
    ready: bool,
    /// Of the node, or why it is not known.
    stage: String,
    waited_ms: u128,
}

/// Waits for all of them at once.
///
/// # Errors
/// [`Failure`] with [`Exit::NotReady`] when the time is up first.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Args { timeout, admin, output } = args;
    let nodes: Vec<_> = admin.client(ANSWER_WITHIN)?.each().collect();
    let started = Instant::now();
    let deadline = started + *timeout;
    let results = join_all(nodes.iter().map(|node| wait(node, started, deadline))).await;
    if output.format == Format::Json {
        output.print_line(&results, |_| String::new())?;
    } else {
        for result in results.iter().filter(|result| result.ready) {
            output.print_line(result, |ready| format!("{} is ready", ready.endpoint))?;
        }
    }
    let late: Vec<_> = results.iter().filter(|result| !result.ready).collect();
    if late.is_empty() {
        return Ok(());
    }
    let told = late.iter().map(|late| format!("{} ({})", late.endpoint, late.stage));
    let told = told.collect::<Vec<_>>().join(", ");
    Err(Failure::new(Exit::NotReady, anyhow::anyhow!("not ready after {timeout}: {told}")))
}

async fn wait(node: &AdminClient, started: Instant, deadline: Instant) -> Ready {
    let endpoint = node.endpoints().next().unwrap_or_default().to_owned();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = tokio::time::timeout(left.max(ASK_EVERY), node.status()).await;
        let (ready, stage) = match asked {
            Ok(Ok(status)) => {
                let stage = status.node.map_or("unknown", |node| words::stage(node.stage));
                (status.ready, stage.to_owned())
            }
            Ok(Err(error)) => (false, error.to_string()),
            Err(_elapsed) => (false, "no answer".to_owned()),
        };
        if ready || Instant::now() >= deadline {
            return Ready { endpoint, ready, stage, waited_ms: started.elapsed().as_millis() };
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
