//! A partition's log and vote.

use std::future::Ready;
use std::io;
use std::ops::Range;

use partition_types::{Entry, LogId, Vote};

/// Where a log begins and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// The last entry; the purged one when there are none after it.
    pub last: Option<LogId>,
}

/// A handle to a partition's log; cheap to clone.
#[derive(Clone)]
pub struct PartitionLog {}

impl PartitionLog {
    pub fn bounds(&self) -> LogBounds { todo!() }
    pub fn vote(&self) -> Option<Vote> { todo!() }
    pub fn committed(&self) -> Option<LogId> { todo!() }
    pub async fn save_vote(&self, vote: Vote) -> io::Result<()> { todo!() }
    pub fn append(&self, entries: Vec<Entry>, done: impl FnOnce(io::Result<()>) + Send + 'static) -> io::Result<()> { todo!() }
    pub fn truncate_after(&self, last: Option<LogId>) -> Ready<io::Result<()>> { todo!() }
    pub fn purge(&self, upto: LogId) -> Ready<io::Result<()>> { todo!() }
    pub fn save_committed(&self, committed: Option<LogId>) { todo!() }
    pub async fn entries(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> { todo!() }
    /// Waits until the entries up to `index` that were appended are durable.
    pub async fn synced(&self, index: u64) -> io::Result<()> { todo!() }
}
