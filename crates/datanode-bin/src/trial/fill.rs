//! What partitions hold when a start is measured: extents, and what is not flushed yet.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use datanode_client::{ClientConfig, PartitionId};
use futures::TryStreamExt;

use super::machine::cpu_seconds;
use super::scrape::figure;
use crate::cluster::Cluster;

/// Puts at the same time, when partitions are filled.
const FILLERS: usize = 64;
/// As many processors are busy where what a fill left to do still goes on: files are merged in the
/// background. Groups that are awake take less.
const BUSY: f64 = 0.5;
/// How long that may go on.
const QUIET_TIMEOUT: Duration = Duration::from_secs(120);
/// Over so long it is looked how busy they are.
const QUIET_WINDOW: Duration = Duration::from_millis(1500);
/// What a node's only disk would replay after a crash.
const UNFLUSHED: &str = "datanode_store_unflushed_bytes{disk=\"0\"}";
const MIB: f64 = 1024.0 * 1024.0;
/// How long it may take to write that much.
const UNFLUSHED_TIMEOUT: Duration = Duration::from_secs(300);
/// Between two looks at how much it is.
const LOOK_AT_UNFLUSHED: Duration = Duration::from_millis(20);

/// Puts so many extents into each partition.
pub(super) async fn fill(
    cluster: &Cluster,
    ids: &[PartitionId],
    extents: u64,
    extent_bytes: u32,
) -> Result<()> {
    put_all(cluster, ids.iter().flat_map(|id| (0..extents).map(|_| *id)), extent_bytes).await
}

/// Puts an extent into each, many at a time.
async fn put_all(
    cluster: &Cluster,
    ids: impl Iterator<Item = PartitionId>,
    extent_bytes: u32,
) -> Result<()> {
    let client = cluster.client(ClientConfig::default());
    let data = Bytes::from(vec![7; usize::try_from(extent_bytes)?]);
    futures::stream::iter(ids.map(Ok))
        .try_for_each_concurrent(FILLERS, |id| {
            let (client, data) = (&client, data.clone());
            async move {
                client.put(id, data).await?;
                anyhow::Ok(())
            }
        })
        .await
}

/// Waits until the nodes have done what the fill left them. At last it goes on as it is.
pub(super) async fn await_quiet(cluster: &Cluster) -> Result<()> {
    let until = Instant::now() + QUIET_TIMEOUT;
    loop {
        let (before, began) = (cpu_seconds(cluster)?, Instant::now());
        tokio::time::sleep(QUIET_WINDOW).await;
        let after = cpu_seconds(cluster)?;
        let took = after.iter().sum::<f64>() - before.iter().sum::<f64>();
        if took < BUSY * began.elapsed().as_secs_f64() || Instant::now() >= until {
            return Ok(());
        }
    }
}

/// Puts extents into all partitions until a node has so much to replay. Returns how much, in MiB.
pub(super) async fn leave_unflushed(
    cluster: &Cluster,
    id: u64,
    ids: &[PartitionId],
    wanted_mib: f64,
    extent_bytes: u32,
) -> Result<f64> {
    let admin = cluster.node(id).ports().admin;
    let reached = async {
        loop {
            let unflushed_mib = figure(admin, UNFLUSHED).await? / MIB;
            if unflushed_mib >= wanted_mib {
                return anyhow::Ok(unflushed_mib);
            }
            tokio::time::sleep(LOOK_AT_UNFLUSHED).await;
        }
    };
    tokio::select! {
        put = put_all(cluster, ids.iter().copied().cycle(), extent_bytes) => {
            put?;
            bail!("there are no partitions to put extents into");
        }
        reached = tokio::time::timeout(UNFLUSHED_TIMEOUT, reached) => {
            reached.with_context(|| format!("leave node {id} with {wanted_mib} MiB to replay"))?
        }
    }
}
