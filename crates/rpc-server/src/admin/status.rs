//! The state of this node now, for `GetStatus`, `/api/v1/status` and the gauges.

use std::time::SystemTime;

use datanode_proto::v1;
use partition_store::DiskStatus;
use raft_glue::{Partition, ReplicaState, Role};

use crate::context::NodeContext;

/// Counts over all replicas of a node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    /// Replicas this node leads.
    pub(super) leaders: u64,
    /// Replicas found bad after the start.
    pub(super) quarantined: u64,
    /// The largest distance from committed to applied, in entries.
    pub(super) apply_lag_entries: u64,
}

/// Looks at every replica.
pub(super) fn totals(partitions: &[Partition]) -> Totals {
    let mut totals = Totals::default();
    for partition in partitions {
        let status = partition.status();
        totals.leaders += u64::from(status.role == Role::Leader);
        totals.quarantined += u64::from(status.state == ReplicaState::Quarantined);
        let (committed, applied) = (status.committed, status.applied);
        // An index is a count only when there is an entry before it.
        let count = |log_id: Option<partition_types::LogId>| log_id.map_or(0, |id| id.index + 1);
        let lag = count(committed).saturating_sub(count(applied));
        totals.apply_lag_entries = totals.apply_lag_entries.max(lag);
    }
    totals
}

/// Whether the node is on its way down, or was told to give its leaderships away.
pub(super) fn is_draining(context: &NodeContext) -> bool {
    context.gate().stage() == startup_gate::Stage::Draining
        || context.host().is_some_and(raft_glue::PartitionHost::is_draining)
}

/// The answer of `GetStatus`.
pub(super) fn of(context: &NodeContext) -> v1::GetStatusResponse {
    let counts = context.gate().counts();
    let partitions = context.host().map(raft_glue::PartitionHost::list).unwrap_or_default();
    let totals = totals(&partitions);
    let draining = is_draining(context);
    let disks = context.store().map(partition_store::Store::disks).unwrap_or_default();
    let quarantined = totals.quarantined.max(counts.quarantined as u64);
    v1::GetStatusResponse {
        cluster_id: context.config().cluster_id.as_str().to_owned(),
        node: Some(context.peers().local()),
        ready: context.gate().is_open() && !draining,
        partitions_total: counts.total() as u64,
        partitions_ready: (counts.ready + counts.deferred) as u64,
        partitions_deferred: counts.deferred as u64,
        partitions_quarantined: quarantined,
        partitions_waived: counts.waived as u64,
        leaders: totals.leaders,
        apply_lag_entries: totals.apply_lag_entries,
        disks: disks.iter().map(disk).collect(),
        peers: context.peers().nodes(),
        started_at: timestamp(context.started_at()),
        draining,
    }
}

fn disk(disk: &DiskStatus) -> v1::DiskStatus {
    v1::DiskStatus {
        path: disk.path.display().to_string(),
        total_bytes: disk.total_bytes,
        available_bytes: disk.available_bytes,
        reserve_bytes: disk.reserve_bytes,
        partitions: disk.partitions as u64,
    }
}

/// A time of the process as the wire has it; `None` before 1970.
fn timestamp(time: SystemTime) -> Option<prost_types::Timestamp> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(prost_types::Timestamp {
        seconds: i64::try_from(since_epoch.as_secs()).ok()?,
        nanos: i32::try_from(since_epoch.subsec_nanos()).ok()?,
    })
}
