//! A roll in which nodes come back too late for the log: what they missed is
//! purged while they are down, so they install snapshots while clients are
//! served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use datanode_client::{AdminClient, Client, ClientConfig, PartitionId};

use super::content::sequence;
use super::ledger::{Ledger, Place, Whole};
use super::record::{Kind, Recorder};
use crate::cluster::Cluster;

/// Partitions that a restart leaves behind.
const PARTITIONS_MAX: usize = 8;
/// What each of them is written meanwhile.
const EXTENTS: u64 = 4;
const EXTENT_LEN_BYTES: usize = 128 << 10;
/// How long a node that is back may take to have them.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Snapshots that nodes had to install.
#[derive(Debug)]
pub(super) struct Installs {
    client: Client,
    ledger: Arc<Ledger>,
    recorder: Arc<Recorder>,
    partitions: Arc<[PartitionId]>,
    /// Where the next restart goes on.
    next: usize,
    /// Each with what was committed when the node was down.
    behind: Vec<(PartitionId, u64)>,
    /// How many were installed.
    pub(super) count: u64,
}

impl Installs {
    pub(super) fn new(
        client: Client,
        ledger: Arc<Ledger>,
        recorder: Arc<Recorder>,
        partitions: Arc<[PartitionId]>,
    ) -> Self {
        Self { client, ledger, recorder, partitions, next: 0, behind: Vec::new(), count: 0 }
    }

    /// Writes to some partitions and purges their logs behind it, while `down`
    /// is down.
    ///
    /// # Errors
    /// The nodes that are up do not do it.
    pub(super) async fn leave_behind(
        &mut self,
        cluster: &Cluster,
        down: u64,
    ) -> anyhow::Result<()> {
        let up = || cluster.nodes().iter().filter(|node| node.id() != down);
        let up: Vec<AdminClient> = up()
            .map(|node| AdminClient::new([node.ports().admin.to_string()], ClientConfig::default()))
            .collect::<Result<_, _>>()?;
        let Some(any) = up.first() else { bail!("no other node is up") };
        self.behind.clear();
        for _ in 0..PARTITIONS_MAX.min(self.partitions.len()) {
            let id = self.partitions[self.next % self.partitions.len()];
            self.next += 1;
            let replicas = any.partition(id).await?.replicas;
            let committed = replicas.iter().map(|replica| replica.committed_index).max();
            for extent in 0..EXTENTS {
                self.put(id, (self.next as u64) << 8 | extent).await;
            }
            for admin in &up {
                admin.snapshot_partition(id).await?;
            }
            self.behind.push((id, committed.unwrap_or_default()));
        }
        Ok(())
    }

    async fn put(&self, partition_id: PartitionId, seed: u64) {
        let data: Bytes = sequence(seed, 0, EXTENT_LEN_BYTES);
        let put = self.client.put(partition_id, data);
        let put = self.recorder.time(Kind::Put, partition_id, put);
        if let Some(stored) = put.await {
            let place = Place { partition_id, extent_id: stored.extent_id };
            self.ledger.add_whole(Whole { place, seed, len: EXTENT_LEN_BYTES });
        }
    }

    /// Counts the partitions whose replica on the node, which is back, has no
    /// entry of those that it missed: it got them as a snapshot.
    ///
    /// # Errors
    /// The node does not get there in time.
    pub(super) async fn count(&mut self, cluster: &Cluster, back: u64) -> anyhow::Result<()> {
        let admin = cluster.node(back).ports().admin.to_string();
        let admin = AdminClient::new([admin], ClientConfig::default())?;
        let since = Instant::now();
        for (id, committed) in &self.behind {
            let replica = loop {
                let replicas = admin.partition(*id).await?.replicas;
                let own = replicas.into_iter().find(|replica| replica.node_id == back);
                match own {
                    Some(replica) if replica.applied_index > *committed => break replica,
                    _ if since.elapsed() > INSTALL_TIMEOUT => {
                        bail!("node {back} does not catch up with partition {id}")
                    }
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            self.count += u64::from(replica.purged_index > *committed);
        }
        Ok(())
    }
}
