//! Restarting every node under load, one after the other, and one of them
//! without warning.

use std::time::Duration;

use super::bar;
use super::load::Load;
use super::report::RestartRow;
use super::stage::Stage;
use crate::Failure;
use crate::cluster::{Cluster, Signal};

/// The load runs so long before the first restart and after each.
const SETTLE: Duration = Duration::from_millis(1000);
/// How long the cluster may take until it can spare the next node.
const SPARE_TIMEOUT: Duration = Duration::from_secs(60);

/// Restarts them. A cluster that cannot spare a node (fewer than three) is not
/// restarted: its clients could not be served meanwhile.
pub(super) async fn run(stage: &mut Stage, load: &Load) -> Result<Vec<RestartRow>, Failure> {
    let ids: Vec<u64> = stage.cluster.nodes().iter().map(|node| node.id()).collect();
    if ids.len() < 3 {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    tokio::time::sleep(SETTLE).await;
    for id in ids {
        rows.push(restart(&mut stage.cluster, load, id, Signal::Term).await?);
    }
    // The kill that hurts: of the node that leads the most.
    let leaders = stage.cluster.leaders().await.map_err(anyhow::Error::from)?;
    if let Some((id, _)) = leaders.into_iter().max_by_key(|(_, leaders)| *leaders) {
        rows.push(restart(&mut stage.cluster, load, id, Signal::Kill).await?);
    }
    Ok(rows)
}

async fn restart(
    cluster: &mut Cluster,
    load: &Load,
    id: u64,
    signal: Signal,
) -> Result<RestartRow, Failure> {
    let note = bar::note(format!("restarting node {id} with {}", signal.name()));
    cluster.wait_safe_to_stop(id, SPARE_TIMEOUT).await.map_err(anyhow::Error::from)?;
    let leaders = cluster.leaders().await.map_err(anyhow::Error::from)?;
    let led = leaders.iter().find(|(node, _)| *node == id).map_or(0, |(_, leaders)| *leaders);
    load.recorder.open();
    let restart = cluster.restart(id, signal).await.map_err(anyhow::Error::from)?;
    tokio::time::sleep(SETTLE).await;
    let window = load.recorder.close().await;
    note.finish();
    let report = cluster.startup(id).await.map_err(anyhow::Error::from)?;
    Ok(RestartRow::new(id, signal.name(), led, restart, window, report.critical_path))
}
