//! Background work of a host: purging logs, dropping abandoned uploads, and
//! what `activate`, `balance`, `driver`, `removed` and `sleep` do.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use partition_types::{Command, Op};
use tokio::time::Instant;

use crate::abandoned::Abandoned;
use crate::body::Body;
use crate::group::Group;
use crate::shared::Shared;
use crate::{Partition, activate, balance, driver, removed, sleep};

/// Between two looks at staged extents and at the apply lag.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const LAG_EVERY: Duration = Duration::from_secs(1);
/// About this much of all logs stays for followers that were away, shared
/// evenly by the groups, within the bounds below.
const KEEP_BYTES: u64 = 512 << 20;
const KEEP_BYTES_MIN: u64 = 256 << 10;
const KEEP_BYTES_MAX: u64 = 8 << 20;

pub(crate) fn spawn(shared: &Arc<Shared>) {
    shared.tasks.spawn(driver::run(Arc::clone(shared)));
    shared.tasks.spawn(sleep::run(Arc::clone(shared)));
    shared.tasks.spawn(purge_logs(Arc::clone(shared)));
    shared.tasks.spawn(sweep_staged(Arc::clone(shared)));
    shared.tasks.spawn(report_lag(Arc::clone(shared)));
    shared.tasks.spawn(activate::run(Arc::clone(shared)));
    shared.tasks.spawn(balance::run(Arc::clone(shared)));
    shared.tasks.spawn(removed::look(Arc::clone(shared)));
}

/// Purges after each flush of the store: what is flushed needs no replay.
async fn purge_logs(shared: Arc<Shared>) {
    let mut flushed = shared.store.flushed();
    loop {
        tokio::select! {
            changed = flushed.changed() => if changed.is_err() { return },
            () = shared.cancel.cancelled() => return,
        }
        let groups = shared.all();
        let keep = keep_bytes(groups.len());
        for group in groups {
            // One that is not in memory has gained nothing since it was.
            let Some(body) = group.running() else { continue };
            let Some(upto) = purgeable(&group, &body, keep) else { continue };
            if let Err(error) = group.purge(&body, upto).await {
                tracing::debug!(partition_id = %group.id, %error, "purge of a stopped group");
            }
        }
    }
}

fn keep_bytes(groups: usize) -> u64 {
    (KEEP_BYTES / groups.max(1) as u64).clamp(KEEP_BYTES_MIN, KEEP_BYTES_MAX)
}

/// The last index that is flushed and need not stay, if it is still there.
fn purgeable(group: &Group, body: &Body, keep_bytes: u64) -> Option<u64> {
    let durable = body.store.state().durable_applied()?.index;
    let upto = group.tail.purgeable(keep_bytes)?.min(durable);
    let purged_next = body.store.log().bounds().purged.map_or(0, |id| id.index + 1);
    (upto >= purged_next).then_some(upto)
}

impl Group {
    /// Purges the log up to `upto`, which must be applied and flushed. The
    /// snapshot that openraft asks for before it purges is a lazy one.
    pub(crate) async fn purge(
        &self,
        body: &Body,
        upto: u64,
    ) -> Result<(), openraft::errors::Fatal<crate::types::TypeConfig>> {
        body.raft.trigger().snapshot().await?;
        let mut snapshots = body.raft.watch_snapshot_progress();
        let covered = async {
            while snapshots.get().is_none_or(|id| id.index < upto) {
                if snapshots.changed().await.is_err() {
                    return;
                }
            }
        };
        // A build that was under way may have been of an earlier state; the
        // next flush tries again.
        let _ = tokio::time::timeout(Duration::from_secs(1), covered).await;
        body.raft.trigger().purge_log(upto).await
    }
}

/// Proposes the end of abandoned uploads in the groups that this node leads.
async fn sweep_staged(shared: Arc<Shared>) {
    let mut abandoned = Abandoned::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = shared.cancel.cancelled() => return,
        }
        for group in shared.all() {
            let staged = group.store.as_ref().map_or(0, |store| store.state().usage().staged_count);
            let view = group.view().filter(|view| staged > 0 && view.leads());
            let Some(view) = view else {
                abandoned.forget(group.id);
                continue;
            };
            let now = (Instant::now(), now_ms());
            if let Some(before_ms) = abandoned.look(group.id, view.term, now, SWEEP_EVERY) {
                expire_staged(group, before_ms).await;
            }
        }
    }
}

async fn expire_staged(group: Arc<Group>, before_ms: u64) {
    let id = group.id;
    let command = Command { request_id: None, at_ms: now_ms(), op: Op::ExpireStaged { before_ms } };
    if let Err(error) = (Partition { group }).propose(command).await {
        tracing::debug!(partition_id = %id, %error, "sweep of uploads failed");
    }
}

async fn report_lag(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LAG_EVERY) => {}
            () = shared.cancel.cancelled() => return,
        }
        let lag = worst_lag(&shared);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        shared.metrics.apply_lag.set(lag as f64);
    }
}

/// Of all groups: those that sleep have applied everything, and are passed over.
fn worst_lag(shared: &Shared) -> u64 {
    let groups = shared.groups.read();
    let awake = groups.values().filter(|group| !group.is_asleep());
    awake.map(|group| apply_lag(group)).max().unwrap_or(0)
}

/// Entries that are committed, as far as is known here, and not applied yet.
pub(crate) fn apply_lag(group: &Group) -> u64 {
    let Some(store) = &group.store else { return 0 };
    let told = group.contact.last().and_then(|heard| heard.committed);
    let committed_next = told.max(store.log().committed()).map_or(0, |id| id.index + 1);
    let applied_next = store.state().applied().map_or(0, |id| id.index + 1);
    committed_next.saturating_sub(applied_next)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, ms)
}

pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
