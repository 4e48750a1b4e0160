//! The state of a partition: its extents, its membership, and how far the log
//! is applied to them.
//!
//! Entries go in by [`PartitionState::apply`], in order; everything else only
//! looks. Nothing here is durable by itself: `data/` has no write-ahead log,
//! and what a crash takes comes back from the Raft log, which is why a log may
//! be purged no further than [`PartitionState::durable_applied`].

mod audit;
mod error;
pub(crate) mod generation;
mod machine;
mod op;
mod overlay;
mod payload;
mod read;
mod record;
mod requests;
mod runs;
mod space;
mod staged;
mod sum;
mod view;
mod window;
mod work;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use partition_types::{Entry, ExtentId, ExtentInfo, LogId, Membership, Outcome, PartitionId};

use crate::blocking::Pools;
use crate::engine::Engine;

pub(crate) use audit::Audit;
pub(crate) use error::StateError;
pub use error::{Damage, Problem};
pub use read::{Frame, READ_LEN_MAX, ReadError, ReadOutcome};
pub(crate) use record::{ExtentRecord, RequestRecord, RunRecord, StateRecord, Visibility};
pub(crate) use space::Space;
pub use sum::ReplicaSum;
pub(crate) use view::View;
pub(crate) use window::{Reading, WindowClock};

use machine::Machine;

/// What the state asks of the disk it lives on.
pub(crate) trait Flusher: Send + Sync + 'static {
    /// Counts bytes that were applied and are not flushed yet.
    fn applied(&self, bytes: u64);

    /// Counts payload that was deleted: what is deleted gives its space back
    /// only after flushes, also where nothing is written any more.
    fn freed(&self, bytes: u64);

    /// Makes everything applied on the disk durable, and says so to its
    /// partitions by [`PartitionState::mark_durable`]. Blocks.
    fn flush(&self) -> io::Result<()>;
}

/// How much a partition holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Visible extents.
    pub extent_count: u64,
    /// Stored payload of visible and staged extents.
    pub size_bytes: u64,
    /// Staged extents.
    pub staged_count: u64,
}

/// What is known without asking the disk.
struct Published {
    applied: Option<LogId>,
    durable_applied: Option<LogId>,
    membership_log_id: Option<LogId>,
    membership: Arc<Membership>,
    written_at_ms: u64,
    usage: Usage,
}

pub(crate) struct Shared {
    pub(crate) id: PartitionId,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) disk: Arc<dyn Flusher>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) machine: Mutex<Machine>,
    published: RwLock<Published>,
}

/// A handle to a partition's state; cheap to clone.
///
/// Blocking work runs on the disk's threads, never on the caller's.
#[derive(Clone)]
pub struct PartitionState {
    pub(crate) shared: Arc<Shared>,
}

impl PartitionState {
    /// Opens the state as the last flush left it: a few point reads.
    pub(crate) fn open(
        id: PartitionId,
        engine: Arc<dyn Engine>,
        disk: Arc<dyn Flusher>,
        pools: Arc<Pools>,
    ) -> Result<Self, StateError> {
        let machine = Machine::open(Arc::clone(&engine), id)?;
        let mut published = Published::of(machine.state());
        // Without a write-ahead log, what is there at open is what was flushed.
        published.durable_applied = published.applied;
        let shared = Shared {
            id,
            engine,
            disk,
            pools,
            machine: Mutex::new(machine),
            published: RwLock::new(published),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The last entry that is part of the state.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.shared.published.read().applied
    }

    /// The last entry that is part of the state as a crash would leave it.
    #[must_use]
    pub fn durable_applied(&self) -> Option<LogId> {
        self.shared.published.read().durable_applied
    }

    /// The membership as of the applied entries, and the entry that brought it.
    #[must_use]
    pub fn membership(&self) -> (Option<LogId>, Membership) {
        let published = self.shared.published.read();
        (published.membership_log_id, Membership::clone(&published.membership))
    }

    /// Looks at the same without a copy. `look` must be short: applying waits for it.
    pub fn look_at_membership<T>(&self, look: impl FnOnce(Option<LogId>, &Membership) -> T) -> T {
        let published = self.shared.published.read();
        look(published.membership_log_id, &published.membership)
    }

    /// The largest clock of any command applied, in milliseconds since the Unix
    /// epoch; 0 when there was none.
    #[must_use]
    pub fn written_at_ms(&self) -> u64 {
        self.shared.published.read().written_at_ms
    }

    /// How much the partition holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.shared.published.read().usage
    }

    /// Applies entries in order and returns one outcome for each. They are part
    /// of the state when it returns, and durable after the next flush.
    ///
    /// # Errors
    /// When the disk fails, when stored bytes that a command needs are damaged,
    /// or when an entry is applied already. The replica must stop: entries of
    /// the call may be applied in part.
    ///
    /// # Cancel safety
    /// Not cancel safe: a call that was dropped still applies, and its outcomes
    /// are lost.
    pub async fn apply(&self, entries: Vec<Entry>) -> io::Result<Vec<Outcome>> {
        let shared = Arc::clone(&self.shared);
        let apply = move || {
            let applied = {
                let mut machine = shared.machine.lock();
                let applied = machine.apply(&entries);
                // After an error too: batches before it were written.
                shared.publish(&machine);
                applied
            };
            let applied = applied?;
            shared.disk.applied(applied.written_bytes);
            shared.disk.freed(applied.freed_bytes);
            Ok(applied.outcomes)
        };
        self.shared.pools.applies.run(apply).await?
    }

    /// Describes a visible extent; `None` when there is no such.
    ///
    /// # Errors
    /// [`ReadError::ChecksumMismatch`] or [`ReadError::Io`].
    pub async fn stat(&self, id: ExtentId) -> Result<Option<ExtentInfo>, ReadError> {
        self.looking(move |view| {
            let extent = view.extent(id, Visibility::Visible)?;
            Ok(extent.map(|extent| extent.info(id)))
        })
        .await
    }

    /// Describes up to `limit` visible extents with ids above `after`, in the
    /// order of their ids.
    ///
    /// # Errors
    /// [`ReadError::ChecksumMismatch`] or [`ReadError::Io`].
    pub async fn list(
        &self,
        after: Option<ExtentId>,
        limit: usize,
    ) -> Result<Vec<ExtentInfo>, ReadError> {
        let from = match after.map_or(Some(0), |id| id.get().checked_add(1)) {
            Some(from) if limit > 0 => from,
            _ => return Ok(Vec::new()),
        };
        self.looking(move |view| {
            let mut infos = Vec::new();
            view.each_extent(Visibility::Visible, from, |id, extent| {
                infos.push(extent.info(id));
                Ok(if infos.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
            Ok(infos)
        })
        .await
    }

    /// Reads up to `max_len` bytes, at most [`READ_LEN_MAX`], of a visible
    /// extent from `offset` on. Every byte is checked against its stored
    /// checksum; at the end of the extent there are no frames.
    ///
    /// # Errors
    /// [`ReadError`]; after [`ReadError::ChecksumMismatch`] the replica must be
    /// taken out of service.
    pub async fn read(
        &self,
        id: ExtentId,
        offset: u64,
        max_len: u64,
    ) -> Result<ReadOutcome, ReadError> {
        // Before the view is taken: a lower bound of what it shows.
        let applied_index = self.applied().map_or(0, |log_id| log_id.index);
        let (frames, size) =
            self.looking(move |view| read::read(view, id, offset, max_len)).await?;
        Ok(ReadOutcome { frames, size, applied_index })
    }

    /// Sums up the whole state, reading and checking every byte.
    ///
    /// # Errors
    /// [`ReadError::ChecksumMismatch`] or [`ReadError::Io`].
    pub async fn sum(&self) -> Result<ReplicaSum, ReadError> {
        self.long(|shared| {
            let snapshot = shared.engine.snapshot();
            Ok(sum::sum(View::current(snapshot.as_ref(), shared.id)?)?)
        })
        .await?
    }

    /// Makes everything applied durable; the whole disk's, since partitions
    /// share it.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Cancel safety
    /// A call that was dropped still flushes.
    pub async fn flush(&self) -> io::Result<()> {
        self.long(|shared| shared.disk.flush()).await?
    }

    /// Told by the disk after a flush: what was applied when it began is
    /// durable now.
    pub(crate) fn mark_durable(&self, applied: Option<LogId>) {
        let mut published = self.shared.published.write();
        published.durable_applied = published.durable_applied.max(applied);
    }

    /// Runs `look` while nothing is applied.
    pub(crate) fn at_rest<T>(&self, look: impl FnOnce() -> T) -> T {
        let _machine = self.shared.machine.lock();
        look()
    }

    /// Refuses every change from now on: the partition is being deleted.
    pub(crate) fn close(&self) {
        self.shared.machine.lock().close();
    }

    /// Runs a short look at one consistent view on a thread for reads.
    async fn looking<T: Send + 'static>(
        &self,
        look: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(&self.shared);
        let look = move || {
            let snapshot = shared.engine.snapshot();
            look(View::current(snapshot.as_ref(), shared.id)?)
        };
        self.shared.pools.reads.run(look).await?
    }

    /// Runs rare, long work on a thread that nobody else waits for.
    pub(crate) async fn long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> io::Result<T> {
        let shared = Arc::clone(&self.shared);
        self.shared.pools.long(move || work(&shared)).await
    }
}

impl Shared {
    /// Makes the machine's state known; called under its lock.
    pub(crate) fn publish(&self, machine: &Machine) {
        let mut published = self.published.write();
        let durable_applied = published.durable_applied;
        *published = Published { durable_applied, ..Published::of(machine.state()) };
    }
}

impl Published {
    fn of(state: &StateRecord) -> Self {
        Self {
            applied: state.applied,
            durable_applied: None,
            membership_log_id: state.membership_log_id,
            membership: Arc::clone(&state.membership),
            written_at_ms: state.latest_at_ms,
            usage: Usage {
                extent_count: state.extent_count,
                size_bytes: state.size_bytes,
                staged_count: state.staged_count,
            },
        }
    }
}
