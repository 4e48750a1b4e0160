//! The one log writer of a disk.
//!
//! It takes everything that all logs of the disk have queued, up to a size, makes
//! it one batch, writes that with one sync, and then says so to everybody in the
//! order of the queue. While it waits for the disk, the next batch gathers.
//!
//! A failed write is final: what the disk has is no longer known, and a later
//! sync that succeeds would prove nothing. Everything queued then and later
//! fails, until the process starts anew and reads what is there.

mod done;
mod group;
mod queue;
#[cfg(any(test, feature = "simulation"))]
mod simulated;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::disk::Health;
use crate::engine::{Batch, Durability, Engine, EngineError};
use crate::log::{LogInner, Recent};
use crate::mark::Marker;
use crate::metric::WriterMetrics;
use crate::store::LogWrites;

pub(crate) use done::Done;
use group::Group;
pub(crate) use queue::Op;
use queue::Queue;

/// A batch takes no more operations when it is this large.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// A mark is set when the last one is so old, or when there was nothing to do
/// for so long.
const MARK_INTERVAL: Duration = Duration::from_secs(1);
/// A write that takes longer is worth a line: everybody waited for it.
const SLOW_WRITE: Duration = Duration::from_millis(500);

/// The queue of a disk's logs, and the thread that empties it.
pub(crate) struct LogWriter {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg(any(test, feature = "simulation"))]
    simulated: Option<simulated::Steps>,
}

#[derive(Default)]
struct Counters {
    operations: AtomicU64,
    entries: AtomicU64,
    syncs: AtomicU64,
    bytes: AtomicU64,
}

impl LogWriter {
    /// Makes the thread.
    pub(crate) fn start(
        name: String,
        engine: Arc<dyn Engine>,
        health: Arc<Health>,
        recent: Recent,
        marker: Option<Arc<Marker>>,
        metrics: WriterMetrics,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let counters = Arc::new(Counters::default());
        let mut writing = Writing {
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            engine,
            health,
            recent,
            marker,
            marked_at: Instant::now(),
            is_unmarked: false,
            metrics,
        };
        let thread = thread::Builder::new().name(name).spawn(move || writing.run())?;
        Ok(Self {
            queue,
            counters,
            thread: Mutex::new(Some(thread)),
            #[cfg(any(test, feature = "simulation"))]
            simulated: None,
        })
    }

    /// Queues an operation.
    ///
    /// # Errors
    /// Gives it back when the writer takes no more.
    // The caller decides when its callback runs; a box would cost every append.
    #[expect(clippy::result_large_err, reason = "the rare case gives the operation back")]
    pub(crate) fn push(&self, op: Op) -> Result<(), Op> {
        let pushed = self.queue.push(op);
        #[cfg(any(test, feature = "simulation"))]
        if let Some(steps) = &self.simulated {
            steps.wake();
        }
        pushed
    }

    /// Writes a batch of its own, synced and in its turn. Blocks.
    pub(crate) fn write(&self, batch: Batch) -> io::Result<()> {
        self.wait(|done| Op::Write { batch, done })
    }

    /// Waits until everything queued before is durable, and writes the commit
    /// indexes of `logs`. Blocks.
    pub(crate) fn sync(&self, logs: Vec<Arc<LogInner>>) -> io::Result<()> {
        self.wait(|done| Op::Sync { logs, done })
    }

    fn wait(&self, op: impl FnOnce(Done) -> Op) -> io::Result<()> {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        let done = Done::new(move |result| {
            // Who asked waits below.
            let _ = send.send(result);
        });
        if let Err(refused) = self.push(op(done)) {
            drop(refused);
        }
        #[cfg(any(test, feature = "simulation"))]
        if let Some(steps) = &self.simulated {
            steps.run_all();
        }
        receive.recv().unwrap_or_else(|_| Err(stopped()))
    }

    /// Takes no more operations, writes those that are queued, and ends.
    pub(crate) fn finish(&self) {
        self.queue.close();
        #[cfg(any(test, feature = "simulation"))]
        if let Some(steps) = &self.simulated {
            steps.run_all();
        }
        self.join();
    }

    /// Takes no more operations, fails those that are queued, and ends.
    pub(crate) fn abandon(&self) {
        self.queue.close();
        self.queue.clear();
        self.join();
    }

    fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // Callbacks' panics are caught: there is none to pass on.
            let _ = thread.join();
        }
    }

    pub(crate) fn writes(&self) -> LogWrites {
        let counters = &self.counters;
        LogWrites {
            operations: counters.operations.load(Ordering::Relaxed),
            entries: counters.entries.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// What a call to a closed store fails with.
pub(crate) fn stopped() -> io::Error {
    io::Error::other("the store is closed")
}

/// The thread's side.
struct Writing {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    engine: Arc<dyn Engine>,
    health: Arc<Health>,
    recent: Recent,
    /// `None`: the engine loses nothing behind our back.
    marker: Option<Arc<Marker>>,
    marked_at: Instant,
    /// What was written last is durable and not marked yet.
    is_unmarked: bool,
    metrics: WriterMetrics,
}

impl Writing {
    fn run(&mut self) {
        while let Some(ops) =
            self.queue.take(BATCH_BYTES, self.is_unmarked.then_some(MARK_INTERVAL))
        {
            let result = self.write(&ops);
            for op in ops {
                self.answer(op, &result);
            }
            self.recent.trim();
        }
    }

    fn write(&mut self, ops: &[Op]) -> io::Result<()> {
        self.health.check()?;
        let group = Group::of(ops);
        if group.batch.is_empty() && !group.is_waited_for {
            return if ops.is_empty() { self.mark() } else { Ok(()) };
        }
        // Nobody waits for a truncation or a purge: they become durable with
        // what comes after them.
        let durability =
            if group.is_waited_for { Durability::Synced } else { Durability::Buffered };
        #[cfg(feature = "planted")]
        let durability = match crate::planted::is_planted(crate::planted::Bug::AckBeforeSync) {
            true => Durability::Buffered,
            false => durability,
        };
        let begun = Instant::now();
        if let Err(error) = self.engine.write(&group.batch, durability) {
            self.health.fail(&error);
            return Err(error.into());
        }
        self.is_unmarked = self.marker.is_some() && durability == Durability::Synced;
        if group.is_manifest_changed || self.marked_at.elapsed() >= MARK_INTERVAL {
            self.mark()?;
        }
        let took = begun.elapsed();
        if took > SLOW_WRITE {
            let (operations, bytes) = (group.operations, group.batch.len_bytes());
            let thread = thread::current();
            let writer = thread.name().unwrap_or_default();
            tracing::warn!(writer, ?took, operations, bytes, "slow write of the log");
        }
        self.metrics.wrote(group.batch.len_bytes(), durability, took);
        let add = |counter: &AtomicU64, count: usize| {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        };
        add(&self.counters.operations, group.operations);
        add(&self.counters.entries, group.entries);
        add(&self.counters.syncs, usize::from(durability == Durability::Synced));
        add(&self.counters.bytes, group.batch.len_bytes());
        Ok(())
    }

    /// Only after a synced write: a mark says what is durable.
    fn mark(&mut self) -> io::Result<()> {
        let Some(marker) = self.marker.as_ref().filter(|_| self.is_unmarked) else {
            return Ok(());
        };
        self.is_unmarked = false;
        self.marked_at = Instant::now();
        marker.mark().inspect_err(|error| {
            self.health.fail(&EngineError::Disk(format!("mark of the log: {error}")));
        })
    }

    fn answer(&mut self, op: Op, result: &io::Result<()>) {
        if let (Err(_), Some(log)) = (result, op.log()) {
            log.close("its disk takes no writes any more");
        }
        let is_written = result.is_ok();
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match op {
            Op::Append { log, bounds, epoch, done, entries, .. } => {
                if let (true, Some((_, last)), false) =
                    (is_written, bounds.entries, entries.is_empty())
                {
                    log.appended(last.index + 1, epoch);
                    self.recent.push(&log, last.index + 1);
                }
                done.call(result);
            }
            Op::Vote { log, vote, done } => {
                let Some(done) = done else { return };
                if is_written {
                    log.voted(vote);
                }
                done.call(result);
            }
            Op::Truncate { log, .. } => log.truncated(),
            Op::Purge { .. } => {}
            Op::Write { done, .. } | Op::Sync { done, .. } => done.call(result),
        }
    }
}

/// However the thread ends, nobody is left waiting.
impl Drop for Writing {
    fn drop(&mut self) {
        self.queue.close();
        self.queue.clear();
    }
}
