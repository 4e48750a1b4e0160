//! The offline check of a data directory: the check stage without a node.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use partition_types::PartitionId;

use crate::check::{CheckError, CheckReport, Checked, Verify, check_partition};
use crate::disk::open_read_only;

/// Checks every partition that a directory's manifest puts on it, all of it.
pub(super) fn check_dir(path: &Path) -> CheckReport {
    let mut report = CheckReport { path: path.to_owned(), fault: None, partitions: Vec::new() };
    let disk = match open_read_only(path) {
        Ok(disk) => disk,
        Err(fault) => {
            report.fault = Some(fault);
            return report;
        }
    };
    let records = disk.manifest.records();
    let here = records.filter(|(_, record)| {
        record.placement.as_ref().is_some_and(|placement| placement.disk == disk.identity.disk)
    });
    let ids: Vec<PartitionId> = here.map(|(id, _)| id).collect();
    report.partitions =
        check_all(&ids, |id| check_partition(&disk.raft, &disk.data, id, Verify::Full));
    report
}

type Result = std::result::Result<Checked, CheckError>;

/// Checks partitions on all processors: it is checksums that take the time. In the order of `ids`.
fn check_all(
    ids: &[PartitionId],
    check: impl Fn(PartitionId) -> Result + Sync,
) -> Vec<(PartitionId, Result)> {
    let next = AtomicUsize::new(0);
    let take = || ids.get(next.fetch_add(1, Ordering::Relaxed)).copied();
    let work = || std::iter::from_fn(take).map(|id| (id, check(id))).collect::<Vec<_>>();
    let workers = thread::available_parallelism().map_or(1, usize::from).min(ids.len());
    let mut results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.flatten().collect()
    });
    results.sort_unstable_by_key(|(id, _)| *id);
    results
}
