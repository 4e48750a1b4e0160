//! A roll in which partitions move: replicas are added and removed all the
//! while, one partition after the other.

use std::sync::Arc;
use std::time::Duration;

use datanode_client::proto::PartitionReplica;
use datanode_client::{AdminClient, Error, PartitionId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Failure;

/// Between two changes.
const PAUSE: Duration = Duration::from_millis(50);
/// How many failures are told in words.
const TOLD_MAX: usize = 5;

/// What was changed.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(super) struct Churned {
    pub(super) added: u64,
    pub(super) removed: u64,
    /// Changes that were given up: a node that they need may be down.
    pub(super) failed: u64,
    pub(super) told: Vec<String>,
}

/// Changes that go on.
#[derive(Debug)]
pub(super) struct Churn {
    stop: CancellationToken,
    task: JoinHandle<Churned>,
}

impl Churn {
    /// Starts it: there must be a node more than replicas.
    pub(super) fn start(
        admin: AdminClient,
        nodes: Vec<PartitionReplica>,
        partitions: Arc<[PartitionId]>,
    ) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(admin, nodes, partitions, stop.clone()));
        Self { stop, task }
    }

    /// Ends it after the change that is under way.
    ///
    /// # Errors
    /// It panicked.
    pub(super) async fn stop(self) -> Result<Churned, Failure> {
        self.stop.cancel();
        Ok(self.task.await.map_err(anyhow::Error::from)?)
    }
}

async fn run(
    admin: AdminClient,
    nodes: Vec<PartitionReplica>,
    partitions: Arc<[PartitionId]>,
    stop: CancellationToken,
) -> Churned {
    let mut churned = Churned::default();
    for (turn, id) in partitions.iter().cycle().enumerate() {
        if stop.is_cancelled() {
            break;
        }
        if let Err(error) = move_one(&admin, &nodes, *id, turn, &mut churned).await {
            churned.failed += 1;
            if churned.told.len() < TOLD_MAX {
                churned.told.push(format!("partition {id}: {error}"));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    churned
}

/// Gives a partition one more replica, and takes another one away.
async fn move_one(
    admin: &AdminClient,
    nodes: &[PartitionReplica],
    id: PartitionId,
    turn: usize,
    churned: &mut Churned,
) -> Result<(), Error> {
    let mut voters: Vec<u64> =
        admin.partition(id).await?.voters.iter().map(|voter| voter.node_id).collect();
    let of = |ids: &[u64]| -> Vec<_> {
        let all = nodes.iter().filter(|node| ids.contains(&node.node_id));
        all.cloned().collect()
    };
    // One change that was given up half-way has left an extra voter: it goes.
    if let Some(spare) = nodes.iter().find(|node| !voters.contains(&node.node_id)) {
        voters.push(spare.node_id);
        admin.change_replicas(id, of(&voters), Vec::new()).await?;
        churned.added += 1;
    }
    let leaver = turn % (voters.len() - 1);
    voters.remove(leaver);
    admin.change_replicas(id, of(&voters), Vec::new()).await?;
    churned.removed += 1;
    Ok(())
}
