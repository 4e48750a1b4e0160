//! `datanode status`: a row a node.

use std::collections::BTreeMap;
use std::time::Duration;

use datanode_client::proto::GetStatusResponse;
use datanode_client::{AdminClient, ClientConfig};
use futures::future::join_all;
use serde::Serialize;

use super::connect::AdminArgs;
use super::words;
use crate::output::{Output, Rows};
use crate::{Exit, Failure};

/// A node that does not answer within this is shown as unreachable.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Arguments of `datanode status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: Output,
}

/// One node, as it says itself or as its peers know it.
#[derive(Debug, Serialize)]
struct Row {
    /// 0: it never answered.
    node_id: u64,
    endpoint: String,
    reachable: bool,
    version: String,
    stage: &'static str,
    ready: bool,
    partitions_ready: u64,
    partitions_total: u64,
    leaders: u64,
    quarantined: u64,
    waived: u64,
    apply_lag_entries: u64,
    error: Option<String>,
}

/// Asks the given nodes, and those that they know of.
///
/// # Errors
/// [`Failure`] with [`Exit::Unreachable`] when none of them answers.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Args { admin, output } = args;
    let given = admin.client(ANSWER_WITHIN)?;
    let rows = cluster(&given).await;
    output.print(&rows, |rows| table(rows))?;
    if rows.iter().any(|row| row.reachable) {
        return Ok(());
    }
    Err(Failure::new(Exit::Unreachable, anyhow::anyhow!("no node answers")))
}

async fn cluster(given: &AdminClient) -> Vec<Row> {
    let mut answers: BTreeMap<String, Result<GetStatusResponse, String>> = BTreeMap::new();
    let mut to_ask: Vec<AdminClient> = given.each().collect();
    let mut seen = Vec::new();
    while !to_ask.is_empty() {
        let asked = join_all(to_ask.iter().map(|node| async move {
            (endpoint(node), node.status().await.map_err(|error| error.to_string()))
        }))
        .await;
        let mut peers = Vec::new();
        for (endpoint, answer) in asked {
            if let Ok(status) = &answer {
                peers.extend(status.peers.iter().map(|peer| peer.admin_address.clone()));
                seen.extend(status.node.iter().map(|node| node.admin_address.clone()));
            }
            answers.insert(endpoint, answer);
        }
        peers.sort();
        peers.dedup();
        peers.retain(|peer| !answers.contains_key(peer) && !seen.contains(peer));
        let config = ClientConfig { timeout: ANSWER_WITHIN, ..ClientConfig::default() };
        // A peer may advertise no admin address, or one that is none.
        to_ask =
            peers.iter().filter_map(|peer| AdminClient::new([peer], config.clone()).ok()).collect();
    }
    let mut rows: Vec<Row> =
        answers.into_iter().map(|(endpoint, answer)| row(endpoint, answer)).collect();
    rows.sort_by(|a, b| (a.node_id, &a.endpoint).cmp(&(b.node_id, &b.endpoint)));
    rows
}

fn endpoint(node: &AdminClient) -> String {
    node.endpoints().next().unwrap_or_default().to_owned()
}

fn row(endpoint: String, answer: Result<GetStatusResponse, String>) -> Row {
    let reachable = answer.is_ok();
    let (status, error) = match answer {
        Ok(status) => (status, None),
        Err(error) => (GetStatusResponse::default(), Some(error)),
    };
    let node = status.node.unwrap_or_default();
    Row {
        node_id: node.node_id,
        endpoint,
        reachable,
        version: node.version,
        stage: if reachable { words::stage(node.stage) } else { "unreachable" },
        ready: status.ready,
        partitions_ready: status.partitions_ready,
        partitions_total: status.partitions_total,
        leaders: status.leaders,
        quarantined: status.partitions_quarantined,
        waived: status.partitions_waived,
        apply_lag_entries: status.apply_lag_entries,
        error,
    }
}

fn table(rows: &[Row]) -> Rows {
    let mut table = Rows::new(&[
        "NODE",
        "ENDPOINT",
        "VERSION",
        "STAGE",
        "READY",
        ">PARTITIONS",
        ">LEADERS",
        ">QUARANTINED",
        ">LAG",
    ]);
    for row in rows {
        let figure = |figure: String| if row.reachable { figure } else { String::new() };
        table.push([
            if row.node_id == 0 { String::new() } else { row.node_id.to_string() },
            row.endpoint.clone(),
            row.version.clone(),
            row.stage.to_owned(),
            figure((if row.ready { "yes" } else { "no" }).to_owned()),
            figure(format!("{}/{}", row.partitions_ready, row.partitions_total)),
            figure(row.leaders.to_string()),
            figure(row.quarantined.to_string()),
            figure(row.apply_lag_entries.to_string()),
        ]);
    }
    table
}
