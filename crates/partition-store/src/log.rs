//! A partition's log and vote.
//!
//! What is asked of a log happens in the order of the asking: each call takes its
//! place in the queue of the disk's one writer before it returns. What is in
//! memory is ahead of the disk: entries are readable as soon as
//! [`PartitionLog::append`] returns, and durable when its callback is called.
//!
//! Watermarks: `purged ≤ snapshot ≤ applied ≤ committed ≤ last`.

mod inner;
mod leaders;
mod read;
mod recent;

use std::future::{Ready, ready};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use partition_types::{Entry, LogId, PartitionId, Vote};
use tokio::sync::oneshot;

use crate::blocking::Pools;
use crate::engine::Engine;
use crate::writer::{Done, LogWriter, Op};

pub(crate) use inner::{LogInner, Start};
pub(crate) use leaders::first_of_leaders;
pub(crate) use recent::{Recent, TailBytes};

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
pub struct PartitionLog {
    pub(crate) inner: Arc<LogInner>,
    engine: Arc<dyn Engine>,
    writer: Arc<LogWriter>,
    pools: Arc<Pools>,
}

impl PartitionLog {
    pub(crate) fn new(
        inner: Arc<LogInner>,
        engine: Arc<dyn Engine>,
        writer: Arc<LogWriter>,
        pools: Arc<Pools>,
    ) -> Self {
        Self { inner, engine, writer, pools }
    }

    /// The partition whose log it is.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.inner.id
    }

    /// Where the log begins and ends, appends under way included.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        self.inner.bounds()
    }

    /// The vote that was saved last, and is durable but for its `committed`.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.inner.vote()
    }

    /// The last entry known to be committed, as it was saved.
    #[must_use]
    pub fn committed(&self) -> Option<LogId> {
        self.inner.committed()
    }

    /// Saves a vote; it is durable on return, and so is every append before it.
    ///
    /// Only that it is `committed` is not, where it was saved for the same node and term
    /// before: that goes to disk with the next write. What a replica promised others is the
    /// same either way, and no other vote stands between the two.
    ///
    /// # Errors
    /// When the disk fails; whether the vote is saved is unknown then.
    ///
    /// # Cancel safety
    /// A call that was dropped still saves the vote.
    pub async fn save_vote(&self, vote: Vote) -> io::Result<()> {
        if self.inner.confirm(vote, &self.writer)? {
            return Ok(());
        }
        let (send, receive) = oneshot::channel();
        let done = Done::new(move |result| {
            // Who asked may be gone.
            let _ = send.send(result);
        });
        let op = Op::Vote { log: Arc::clone(&self.inner), vote, done: Some(done) };
        if let Err(refused) = self.writer.push(op) {
            drop(refused);
        }
        receive.await.unwrap_or_else(|_| Err(crate::writer::stopped()))
    }

    /// Appends entries. They are readable on return; `done` is called when they
    /// are durable, or are known not to become so: exactly once in either case,
    /// also when this call fails, and in the order of the appends to the log.
    ///
    /// `done` runs on the disk's log-writer thread, which all logs of the disk
    /// wait for: it must not block.
    ///
    /// # Errors
    /// When the entries do not continue the log, or the disk takes no more
    /// writes. `done` was called by then.
    pub fn append(
        &self,
        entries: Vec<Entry>,
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()> {
        let done = Done::new(done);
        self.inner.append(entries, done, &self.writer)
    }

    /// Drops all entries after `last`; `None` drops all there are. Not durable
    /// by itself, and never overtaken by what is appended afterwards.
    ///
    /// # Errors
    /// When the disk takes no more writes.
    pub fn truncate_after(&self, last: Option<LogId>) -> Ready<io::Result<()>> {
        ready(self.inner.truncate_after(last, &self.writer))
    }

    /// Drops all entries up to and including `upto`, which may be beyond the
    /// last one: the log continues after it then. Not durable by itself.
    ///
    /// # Errors
    /// When the disk takes no more writes.
    pub fn purge(&self, upto: LogId) -> Ready<io::Result<()>> {
        ready(self.inner.purge(upto, &self.writer))
    }

    /// Remembers the commit index. It goes to disk with the log's next write,
    /// and is a hint only: what it saves after a crash is waiting for a leader
    /// to tell it again.
    pub fn save_committed(&self, committed: Option<LogId>) {
        self.inner.save_committed(committed);
    }

    /// Lets go of the entries that are in memory and durable: nobody is expected to read
    /// them soon.
    pub fn rest(&self) {
        self.inner.rest();
    }

    /// Reads entries of a range, from its first one that is there on, without
    /// gaps, up to about `max_bytes`; at least one if there is any.
    ///
    /// # Errors
    /// When the disk fails or what it has is damaged.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn entries(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        loop {
            let from_disk = match self.inner.plan(range.clone(), max_bytes)? {
                read::Plan::Ready(entries) => return Ok(entries),
                read::Plan::FromDisk(from_disk) => from_disk,
            };
            let (engine, id) = (Arc::clone(&self.engine), self.inner.id);
            let indexes = from_disk.indexes.clone();
            let read = move || read::read(engine.as_ref(), id, indexes, max_bytes);
            let found = self.pools.reads.run(read).await??;
            if let Some(entries) = self.inner.complete(&from_disk, found, range.end, max_bytes)? {
                return Ok(entries);
            }
            // The log was truncated or purged meanwhile: look again.
        }
    }

    /// The last entry of each leader that wrote entries of a range, in order. It costs one look
    /// at the disk, however long the log is; more for entries of a program that did not record it.
    ///
    /// # Errors
    /// When the disk fails or what it has is damaged.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn last_of_leaders(&self, indexes: Range<u64>) -> io::Result<Vec<LogId>> {
        loop {
            let plan = self.inner.plan_leaders(&indexes);
            if plan.on_disk.is_empty() {
                return Ok(plan.in_memory.and_then(leaders::Leaders::default()));
            }
            let (engine, id) = (Arc::clone(&self.engine), self.inner.id);
            let on_disk = plan.on_disk.clone();
            let bounds = plan.bounds;
            let look = move || leaders::on_disk(engine.as_ref(), id, &bounds, on_disk);
            let found = self.pools.reads.run(look).await?;
            if self.inner.is_as_planned(&plan) {
                return Ok(found?.and_then(plan.in_memory));
            }
            // The log was truncated or purged meanwhile: look again.
        }
    }

    /// Waits until the entries up to `index` are durable; does not wait for
    /// entries that were not appended.
    ///
    /// # Errors
    /// When the disk takes no more writes.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn synced(&self, index: u64) -> io::Result<()> {
        self.inner.synced(index).await
    }
}
