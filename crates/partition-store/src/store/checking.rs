//! The offline check of a data directory: the check stage without a node.

use std::path::Path;

use crate::check::{CheckReport, Verify, check_partition};
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
    for (id, record) in disk.manifest.records() {
        let is_here =
            record.placement.as_ref().is_some_and(|placement| placement.disk == disk.identity.disk);
        if is_here {
            let result = check_partition(&disk.raft, &disk.data, id, Verify::Full);
            report.partitions.push((id, result));
        }
    }
    report
}
