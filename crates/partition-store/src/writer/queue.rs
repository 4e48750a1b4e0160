//! What waits to be written to a disk's logs.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use partition_types::{Entry, LogId, Vote};

use super::Done;
use crate::codec::Bounds;
use crate::engine::Batch;
use crate::log::LogInner;

/// One thing to write. Bounds are those of the log after it.
pub(crate) enum Op {
    /// Entries at the end of a log, after another; `epoch` is the log's at that time.
    Append {
        log: Arc<LogInner>,
        before: Option<LogId>,
        entries: Vec<Entry>,
        bounds: Bounds,
        epoch: u64,
        done: Done,
    },
    /// A vote. `None`: the disk has it already, but for that a quorum gave the same.
    Vote { log: Arc<LogInner>, vote: Vote, done: Option<Done> },
    /// No entries from an index on.
    Truncate { log: Arc<LogInner>, from_index: u64, bounds: Bounds },
    /// No entries of a range at the log's begin, and no records of leaders in another.
    Purge { log: Arc<LogInner>, dropped: Range<u64>, leaders: Range<u64>, bounds: Bounds },
    /// Anything, synced.
    Write { batch: Batch, done: Done },
    /// Nothing but what is before it, synced, and the logs' commit indexes.
    Sync { logs: Vec<Arc<LogInner>>, done: Done },
}

impl Op {
    /// The log it belongs to.
    pub(super) fn log(&self) -> Option<&LogInner> {
        match self {
            Op::Append { log, .. }
            | Op::Vote { log, .. }
            | Op::Truncate { log, .. }
            | Op::Purge { log, .. } => Some(log),
            Op::Write { .. } | Op::Sync { .. } => None,
        }
    }

    /// About how much it adds to a batch.
    fn len_bytes(&self) -> usize {
        const FIXED: usize = 64;
        FIXED
            + match self {
                Op::Append { entries, .. } => entries.iter().map(Entry::len_bytes).sum(),
                Op::Write { batch, .. } => batch.len_bytes(),
                _ => 0,
            }
    }

    /// Whether it may stay in the queue until something else is to be written.
    fn can_wait(&self) -> bool {
        matches!(self, Op::Vote { done: None, .. })
    }
}

/// First in, first out.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    ops: VecDeque<Op>,
    is_closed: bool,
}

impl Waiting {
    fn take(&mut self, max_bytes: usize) -> Vec<Op> {
        let mut taken = Vec::with_capacity(self.ops.len().min(1024));
        let mut len_bytes = 0;
        while len_bytes < max_bytes
            && let Some(op) = self.ops.pop_front()
        {
            len_bytes += op.len_bytes();
            taken.push(op);
        }
        taken
    }
}

impl Queue {
    #[expect(clippy::result_large_err, reason = "the rare case gives the operation back")]
    pub(super) fn push(&self, op: Op) -> Result<(), Op> {
        let can_wait = op.can_wait();
        {
            let mut waiting = self.waiting.lock();
            if waiting.is_closed {
                return Err(op);
            }
            waiting.ops.push_back(op);
        }
        if !can_wait {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for operations and takes them until they are `max_bytes`; `None`
    /// when there are none and never will be. None of them after `patience`.
    pub(super) fn take(&self, max_bytes: usize, patience: Option<Duration>) -> Option<Vec<Op>> {
        let mut waiting = self.waiting.lock();
        while waiting.ops.is_empty() {
            if waiting.is_closed {
                return None;
            }
            match patience {
                None => self.changed.wait(&mut waiting),
                Some(patience) => {
                    if self.changed.wait_for(&mut waiting, patience).timed_out() {
                        break;
                    }
                }
            }
        }
        Some(waiting.take(max_bytes))
    }

    /// Likewise, without waiting: `None` when there are none.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn take_now(&self, max_bytes: usize) -> Option<Vec<Op>> {
        let mut waiting = self.waiting.lock();
        (!waiting.ops.is_empty()).then(|| waiting.take(max_bytes))
    }

    /// Takes no more operations.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Fails all that wait.
    pub(super) fn clear(&self) {
        let ops = std::mem::take(&mut self.waiting.lock().ops);
        // Outside of the lock: dropping them calls their callbacks.
        drop(ops);
    }
}
