//! Making states durable, now and then and on demand; and what else goes on behind requests.
//!
//! `data/` has no write-ahead log: what was applied since the last flush comes
//! back from the Raft logs, so these are purged only up to what was flushed. A
//! flush each so many bytes bounds both what a crash must replay and what the
//! logs hold.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use partition_types::PartitionId;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Health, Loaded};
use crate::engine::{Engine, Table};
use crate::keys;
use crate::metric::FlushMetrics;
use crate::state::Flusher;
use crate::writer::LogWriter;

/// A flush is due when about so much was applied since the last one, give or take
/// a quarter: the replicas of a group apply the same, and their nodes shall not
/// flush at the same time. In small pieces, since requests wait for the same disk.
const DUE_BYTES: u64 = 32 * 1024 * 1024;
/// What a close or a crash left to compact waits for so long after an open, unless
/// [`FlushThread::wind_up`] is called before: nearly every start takes less. Not longer, for a node
/// that does not come to its end takes its groups' writes meanwhile, and too many files that
/// are not compacted make RocksDB slow writes down.
const HELD: Duration = Duration::from_secs(10);
/// Asking space back goes through all keys of the disk, so it is worth it when
/// at least this part of what is left was deleted.
const FREED_PART: u64 = 8;

/// How much makes the next flush of a disk due, of all disks another number.
pub(super) fn due_bytes(disk: Uuid, flushes: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (disk, flushes).hash(&mut hasher);
    DUE_BYTES * 3 / 4 + hasher.finish() % (DUE_BYTES / 2)
}

/// Flushes the states of a disk.
pub(crate) struct Flush {
    pub(super) disk: Uuid,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) raft: Arc<dyn Engine>,
    pub(super) writer: Arc<LogWriter>,
    pub(super) loaded: Arc<Loaded>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: FlushMetrics,
    /// Counts flushes of all disks of the store.
    pub(super) flushed: watch::Sender<u64>,
    pub(super) one_at_a_time: Mutex<()>,
    pub(super) unflushed_bytes: AtomicU64,
    /// A flush is due at so many; another number after each.
    pub(super) due_bytes: AtomicU64,
    /// Payload deleted since its space was last asked back.
    pub(super) freed_bytes: AtomicU64,
    pub(super) wanted: Arc<Wanted>,
}

/// What the thread is to do.
#[derive(Default)]
pub(super) struct Wanted {
    work: Mutex<Work>,
    changed: Condvar,
    /// For the one who may not block.
    #[cfg(any(test, feature = "simulation"))]
    noticed: tokio::sync::Notify,
}

impl Wanted {
    fn tell(&self) {
        self.changed.notify_one();
        #[cfg(any(test, feature = "simulation"))]
        self.noticed.notify_one();
    }
}

#[derive(Default)]
struct Work {
    is_flush_due: bool,
    /// Deleted partitions whose space is to come back.
    deleted: VecDeque<PartitionId>,
    /// Until then nothing is compacted; `None`: it is, or will not be any more.
    held_until: Option<Instant>,
    is_stopped: bool,
}

impl Flush {
    /// How much was applied since the last flush began: a crash replays it.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes.load(Ordering::Relaxed)
    }

    /// Makes everything applied so far durable. Blocks.
    pub(crate) fn now(&self) -> io::Result<()> {
        let _one_at_a_time = self.one_at_a_time.lock();
        self.health.check()?;
        // The logs first: a state is never ahead of its log.
        self.writer.sync(self.loaded.logs())?;
        let applied: Vec<_> = self
            .loaded
            .states()
            .into_iter()
            .map(|state| {
                let applied = state.applied();
                (state, applied)
            })
            .collect();
        self.unflushed_bytes.store(0, Ordering::Relaxed);
        self.due_bytes.store(due_bytes(self.disk, *self.flushed.borrow()), Ordering::Relaxed);
        let begun = Instant::now();
        if let Err(error) = self.engine.flush() {
            self.health.fail(&error);
            return Err(error.into());
        }
        self.metrics.flushed(begun.elapsed());
        for (state, applied) in applied {
            state.mark_durable(applied);
        }
        self.flushed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Gives the disk back what a deleted partition had, some time soon.
    pub(crate) fn reclaim(&self, id: PartitionId) {
        self.wanted.work.lock().deleted.push_back(id);
        self.wanted.tell();
    }

    /// Flushes, and asks deleted payload's space back when it is worth it.
    fn due(&self) -> io::Result<()> {
        self.now()?;
        let left: u64 = self.loaded.states().iter().map(|state| state.usage().size_bytes).sum();
        let freed = self.freed_bytes.load(Ordering::Relaxed);
        if freed < DUE_BYTES.max(left / FREED_PART) {
            return Ok(());
        }
        self.freed_bytes.fetch_sub(freed, Ordering::Relaxed);
        let all = keys::all_data();
        Ok(self.engine.reclaim(Table::Chunk, &all.start..&all.end)?)
    }

    fn work(&self, next: Next) {
        let done = match next {
            Next::Flush => self.due(),
            Next::Reclaim(id) => self.reclaim_now(id),
            Next::WindUp => {
                self.raft.wind_up();
                self.engine.wind_up();
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "flush of the states failed");
        }
    }

    fn reclaim_now(&self, id: PartitionId) -> io::Result<()> {
        // Deletions take effect on files, so they have to be in one.
        self.now()?;
        let range = keys::partition_data(id);
        for table in [Table::StateMeta, Table::Chunk] {
            self.engine.reclaim(table, &range.start..&range.end)?;
        }
        Ok(())
    }
}

impl Flusher for Flush {
    fn applied(&self, bytes: u64) {
        self.metrics.applied(bytes);
        self.count(bytes);
    }

    fn freed(&self, bytes: u64) {
        self.freed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.count(bytes);
    }

    fn flush(&self) -> io::Result<()> {
        self.now()
    }
}

impl Flush {
    /// Counts what makes a flush due.
    fn count(&self, bytes: u64) {
        let due = self.due_bytes.load(Ordering::Relaxed);
        let before = self.unflushed_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < due && before + bytes >= due {
            self.wanted.work.lock().is_flush_due = true;
            self.wanted.tell();
        }
    }
}

/// The thread that flushes when it is due.
pub(crate) struct FlushThread {
    wanted: Arc<Wanted>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What to do next.
#[derive(Clone, Copy)]
enum Next {
    Flush,
    Reclaim(PartitionId),
    WindUp,
}

impl FlushThread {
    pub(super) fn start(name: String, flush: Arc<Flush>) -> io::Result<Self> {
        let wanted = Arc::clone(&flush.wanted);
        wanted.work.lock().held_until = Some(Instant::now() + HELD);
        let thread = thread::Builder::new().name(name).spawn(move || {
            while let Some(next) = flush.wanted.next() {
                flush.work(next);
            }
        })?;
        Ok(Self { wanted, thread: Mutex::new(Some(thread)) })
    }

    /// A task in the thread's place, for a simulator.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn simulated(flush: Arc<Flush>) -> Self {
        let wanted = Arc::clone(&flush.wanted);
        tokio::spawn(async move {
            while !flush.wanted.work.lock().is_stopped {
                flush.wanted.noticed.notified().await;
                loop {
                    let next = flush.wanted.work.lock().next();
                    let Some(next) = next else { break };
                    flush.work(next);
                }
            }
        });
        Self { wanted, thread: Mutex::new(None) }
    }

    /// Compactions are held no longer.
    pub(crate) fn wind_up(&self) {
        if let Some(until) = &mut self.wanted.work.lock().held_until {
            *until = Instant::now();
        }
        self.wanted.tell();
    }

    /// Compactions that are held are not begun any more.
    pub(crate) fn wind_down(&self) {
        self.wanted.work.lock().held_until = None;
    }

    /// Ends the thread when it has done what it is at.
    pub(crate) fn stop(&self) {
        self.wanted.work.lock().is_stopped = true;
        self.wanted.changed.notify_all();
        #[cfg(any(test, feature = "simulation"))]
        self.wanted.noticed.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the flush thread panicked");
        }
    }
}

impl Wanted {
    /// `None` when it is stopped.
    fn next(&self) -> Option<Next> {
        let mut work = self.work.lock();
        loop {
            if work.is_stopped {
                return None;
            }
            if let Some(next) = work.next() {
                return Some(next);
            }
            match work.held_until {
                None => self.changed.wait(&mut work),
                Some(until) => {
                    self.changed.wait_until(&mut work, until);
                }
            }
        }
    }
}

impl Work {
    fn next(&mut self) -> Option<Next> {
        if std::mem::take(&mut self.is_flush_due) {
            return Some(Next::Flush);
        }
        if let Some(id) = self.deleted.pop_front() {
            return Some(Next::Reclaim(id));
        }
        self.held_until.take_if(|until| *until <= Instant::now()).map(|_| Next::WindUp)
    }
}
