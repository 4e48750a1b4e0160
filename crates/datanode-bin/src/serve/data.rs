//! The data directories: opened with the exit code that a refusal deserves,
//! looked over as a whole, and given a first partition where nobody else would.

use std::time::Duration;

use anyhow::anyhow;
use partition_store::{DiskConfig, OpenError, Store, StoreConfig};
use partition_types::{Member, NodeId, PartitionId};

use super::node::Plan;
use crate::config::Config;
use crate::{Exit, Failure};

/// Test aid: each load of a partition takes so many milliseconds longer, so
/// that tests meet a node that is still loading; `1:100` slows disk 1 only.
const TEST_LOAD_DELAY: &str = "DATANODE_TEST_LOAD_DELAY_MS";
/// Test aid: each check of a partition takes so many milliseconds longer.
const TEST_CHECK_DELAY: &str = "DATANODE_TEST_CHECK_DELAY_MS";

/// What the store is told.
///
/// # Errors
/// The test aid is set to something that is no number.
pub(super) fn store_config(plan: &Plan) -> Result<StoreConfig, Failure> {
    let config = &plan.config;
    let disk = |disk: &crate::config::Disk| DiskConfig {
        path: disk.path.clone(),
        reserve_bytes: disk.reserve.0,
    };
    Ok(StoreConfig {
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id,
        disks: config.disk.iter().map(disk).collect(),
        accept_lost_disk: plan.accept_degraded,
        inject_load_delay: test_load_delay(config.disk.len())?,
    })
}

/// How much longer a load takes, disk by disk.
fn test_load_delay(disks: usize) -> Result<Vec<Duration>, Failure> {
    let Ok(text) = std::env::var(TEST_LOAD_DELAY) else { return Ok(Vec::new()) };
    let Some((disk, ms)) = text.split_once(':') else {
        return Ok(vec![test_delay(TEST_LOAD_DELAY, &text)?; disks]);
    };
    let disk: Option<usize> = disk.parse().ok().filter(|disk| *disk < disks);
    let disk = disk.ok_or_else(|| {
        Failure::usage(format!("{TEST_LOAD_DELAY} is {text:?}, and there is no such disk"))
    })?;
    let mut delays = vec![Duration::ZERO; disk + 1];
    delays[disk] = test_delay(TEST_LOAD_DELAY, ms)?;
    Ok(delays)
}

/// How much longer the check of a partition takes.
///
/// # Errors
/// The test aid is set to something that is no number.
pub(super) fn test_check_delay() -> Result<Duration, Failure> {
    let text = std::env::var(TEST_CHECK_DELAY).ok();
    text.map_or(Ok(Duration::ZERO), |text| test_delay(TEST_CHECK_DELAY, &text))
}

fn test_delay(name: &str, text: &str) -> Result<Duration, Failure> {
    let ms = text
        .parse()
        .map_err(|_| Failure::usage(format!("{name}: {text:?} is no number of milliseconds")))?;
    tracing::warn!(ms, "{name} slows the start down: for tests only");
    Ok(Duration::from_millis(ms))
}

/// A refusal of the store with the exit code of its kind.
pub(super) fn refused(error: OpenError) -> Failure {
    Failure::new(Exit::Store(error.exit_code()), error)
}

/// Opens every disk, off the runtime's threads.
///
/// # Errors
/// [`refused`], or the thread that opened them panicked.
///
/// # Cancel safety
/// Dropped half-way, the opening goes on in its thread; its store is closed
/// when the process ends.
pub(super) async fn open(config: StoreConfig) -> Result<Store, Failure> {
    let opened = tokio::task::spawn_blocking(move || Store::open(config)).await;
    opened.map_err(|error| Failure::new(Exit::Failed, error))?.map_err(refused)
}

/// What of the node as a whole is worth a word before it serves.
pub(super) fn warn_of_full_disks(store: &Store) {
    for disk in store.disks() {
        if disk.available_bytes < disk.reserve_bytes {
            tracing::warn!(
                path = %disk.path.display(),
                available_bytes = disk.available_bytes,
                reserve_bytes = disk.reserve_bytes,
                "the disk is down to its reserve: writes are refused with DISK_FULL"
            );
        }
    }
}

/// This node as the groups that it is a member of record it.
pub(super) fn local_member(config: &Config, store: &Store) -> Member {
    Member {
        incarnation: store.incarnation(),
        peer_address: config.peer_address(),
        client_address: config.client_address(),
        admin_address: config.admin_address(),
    }
}

/// The partition of a node that stands alone, with itself as only member.
#[derive(Debug, Clone)]
pub(super) struct FirstPartition {
    pub(super) id: PartitionId,
    pub(super) members: Vec<(NodeId, Member)>,
}

/// Puts partition 1 into an empty manifest, so that a node without any
/// configuration takes a file and gives it back. Its group is initialised in
/// *elect*, when it may campaign; a crash before that is made good by the next
/// start, which finds a partition of one member that never had a leader.
///
/// # Errors
/// The manifest could not be written.
pub(super) fn first_partition(
    plan: &Plan,
    store: &Store,
    local: &Member,
) -> Result<Option<FirstPartition>, Failure> {
    if !plan.make_first_partition {
        return Ok(None);
    }
    let id = PartitionId::new(1).expect("above 0");
    let manifest = store.manifest();
    if let Some(entry) = manifest.iter().find(|entry| entry.partition_id == id) {
        // Only what was made here; its members as they were written down then.
        let members = entry.created_with.clone();
        let is_ours = members.len() == 1 && members[0].0 == store.node_id();
        return Ok(is_ours.then_some(FirstPartition { id, members }));
    }
    if !manifest.is_empty() {
        return Ok(None);
    }
    let members = vec![(store.node_id(), local.clone())];
    store.create(id, members.clone()).map_err(|e| Failure::new(Exit::Failed, anyhow!(e)))?;
    tracing::info!(
        partition = %id,
        "no configuration file and no data yet: made a first partition with this node as its \
         only replica"
    );
    Ok(Some(FirstPartition { id, members }))
}
