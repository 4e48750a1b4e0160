//! What is known of a log without asking the disk.
//!
//! ```text
//!            purged   first          tail                     last
//!   ───────────┤ gone ├───────────────┼───────────────┼─────────┤
//!                     │ on disk only  │ also in memory│ memory, │
//!                     │               │               │ on its  │
//!                     │               │               │ way to  │
//!                                             synced ─┘ the disk
//! ```
//!
//! The lock is held while an operation is put into the writer's queue, so that
//! the queue has a log's operations in the order in which memory has them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use partition_types::{Entry, LogId, PartitionId, Vote};
use tokio::sync::Notify;

use super::LogBounds;
use super::recent::TailBytes;
use crate::codec::Bounds;
use crate::writer::{Done, LogWriter, Op};

/// A log as it is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    pub(crate) vote: Option<Vote>,
    pub(crate) bounds: Bounds,
    pub(crate) committed: Option<LogId>,
}

pub(crate) struct LogInner {
    pub(crate) id: PartitionId,
    pub(super) state: Mutex<State>,
    /// More is synced, or nothing will be any more.
    synced: Notify,
    tail_bytes: Arc<TailBytes>,
}

pub(super) struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// The disk has another commit index.
    is_committed_dirty: bool,
    pub(super) bounds: Bounds,
    /// What the writer put on disk last.
    written: Bounds,
    /// The last entries, without a gap.
    pub(super) tail: VecDeque<Entry>,
    /// One past the last durable entry.
    synced_next: u64,
    /// Counts truncations and purges: a reader sees that it was overtaken.
    pub(super) epoch: u64,
    /// Truncations that the writer has not seen: when each happened, and from
    /// which index on it dropped entries.
    cuts: VecDeque<(u64, u64)>,
    /// Why nothing is taken any more.
    closed: Option<&'static str>,
}

impl State {
    /// One past the last entry.
    pub(super) fn next_index(&self) -> u64 {
        self.bounds.next_index()
    }

    /// The first entry that is in memory, or where it will be.
    pub(super) fn tail_index(&self) -> u64 {
        self.tail.front().map_or_else(|| self.next_index(), |entry| entry.log_id.index)
    }

    fn check_open(&self) -> io::Result<()> {
        match self.closed {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why)),
        }
    }

    /// Whether `entries` continue the log.
    fn check_continues(&self, entries: &[Entry]) -> io::Result<()> {
        let mut before = self.bounds.last();
        for entry in entries {
            let log_id = entry.log_id;
            let continues =
                before.is_none_or(|before| log_id.index == before.index + 1 && log_id > before);
            if !continues {
                let before = before.map_or_else(String::new, |log_id| log_id.to_string());
                let problem = format!("entry {log_id} does not continue the log after {before}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
            }
            before = Some(log_id);
        }
        Ok(())
    }
}

impl LogInner {
    pub(crate) fn new(id: PartitionId, start: Start, tail_bytes: Arc<TailBytes>) -> Self {
        let mut state = State {
            vote: start.vote,
            committed: start.committed,
            is_committed_dirty: false,
            bounds: start.bounds,
            written: start.bounds,
            tail: VecDeque::new(),
            synced_next: 0,
            epoch: 0,
            cuts: VecDeque::new(),
            closed: None,
        };
        state.synced_next = state.next_index();
        Self { id, state: Mutex::new(state), synced: Notify::new(), tail_bytes }
    }

    pub(super) fn bounds(&self) -> LogBounds {
        let state = self.state.lock();
        LogBounds { purged: state.bounds.purged, last: state.bounds.last() }
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.state.lock().vote
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.state.lock().committed
    }

    pub(super) fn save_committed(&self, committed: Option<LogId>) {
        let mut state = self.state.lock();
        if state.committed != committed {
            state.committed = committed;
            state.is_committed_dirty = true;
        }
    }

    /// Whether the disk has this vote already, but for its `committed`, which nobody
    /// needs to wait for.
    pub(super) fn confirm(self: &Arc<Self>, vote: Vote, writer: &LogWriter) -> io::Result<bool> {
        let mut state = self.state.lock();
        let Some(known) = state.vote else { return Ok(false) };
        if (known.term, known.voted_for) != (vote.term, vote.voted_for) {
            return Ok(false);
        }
        state.check_open()?;
        if known != vote {
            let op = Op::Vote { log: Arc::clone(self), vote, done: None };
            if writer.push(op).is_err() {
                return Err(crate::writer::stopped());
            }
            state.vote = Some(vote);
        }
        Ok(true)
    }

    pub(crate) fn append(
        self: &Arc<Self>,
        entries: Vec<Entry>,
        done: Done,
        writer: &LogWriter,
    ) -> io::Result<()> {
        let result = self.try_append(entries, done, writer);
        // Outside of the lock: `done` may look at the log.
        result.map_err(|(error, done)| {
            done.call(Err(io::Error::new(error.kind(), error.to_string())));
            error
        })
    }

    fn try_append(
        self: &Arc<Self>,
        entries: Vec<Entry>,
        done: Done,
        writer: &LogWriter,
    ) -> Result<(), (io::Error, Done)> {
        let mut state = self.state.lock();
        if let Err(error) = state.check_open().and_then(|()| state.check_continues(&entries)) {
            return Err((error, done));
        }
        let mut bounds = state.bounds;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let first_index = bounds.entries.map_or(first.log_id.index, |(index, _)| index);
            bounds.entries = Some((first_index, last.log_id));
        }
        let op = Op::Append {
            log: Arc::clone(self),
            before: state.bounds.last(),
            entries: entries.clone(),
            bounds,
            epoch: state.epoch,
            done,
        };
        if let Err(Op::Append { done, .. }) = writer.push(op) {
            return Err((crate::writer::stopped(), done));
        }
        state.bounds = bounds;
        self.tail_bytes.add(entries.iter().map(Entry::len_bytes).sum());
        state.tail.extend(entries);
        Ok(())
    }

    pub(super) fn truncate_after(
        self: &Arc<Self>,
        last: Option<LogId>,
        writer: &LogWriter,
    ) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_open()?;
        let from_index = last.map_or(0, |last| last.index + 1);
        let Some((first_index, _)) = state.bounds.entries else { return Ok(()) };
        if from_index >= state.next_index() {
            return Ok(());
        }
        let mut bounds = state.bounds;
        bounds.entries = last.filter(|_| from_index > first_index).map(|last| (first_index, last));
        bounds.leaders_from = bounds.leaders_from.min(from_index);
        let op = Op::Truncate { log: Arc::clone(self), from_index, bounds };
        if writer.push(op).is_err() {
            return Err(crate::writer::stopped());
        }
        state.bounds = bounds;
        while let Some(entry) = state.tail.back()
            && entry.log_id.index >= from_index
        {
            self.tail_bytes.take(entry.len_bytes());
            state.tail.pop_back();
        }
        state.synced_next = state.synced_next.min(from_index);
        state.epoch += 1;
        let cut = (state.epoch, from_index);
        state.cuts.push_back(cut);
        Ok(())
    }

    pub(super) fn purge(self: &Arc<Self>, upto: LogId, writer: &LogWriter) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_open()?;
        if state.bounds.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        let next = upto.index.saturating_add(1);
        let mut bounds = Bounds { purged: Some(upto), ..state.bounds };
        let mut dropped = 0..0;
        if let Some((first_index, last)) = bounds.entries {
            dropped = first_index..next;
            bounds.entries = (last.index > upto.index).then_some((next.max(first_index), last));
        }
        // Where the log goes on, and one leader wrote all that goes, there is no record.
        let is_by_one = bounds.entries.is_some()
            && state.bounds.purged.is_some_and(|purged| purged.is_by_leader_of(upto));
        let leaders = if is_by_one { 0..0 } else { 0..next };
        let op = Op::Purge { log: Arc::clone(self), dropped, leaders, bounds };
        if writer.push(op).is_err() {
            return Err(crate::writer::stopped());
        }
        state.bounds = bounds;
        self.drop_tail(&mut state, next);
        state.synced_next = state.synced_next.max(next);
        state.epoch += 1;
        Ok(())
    }

    pub(super) async fn synced(&self, index: u64) -> io::Result<()> {
        loop {
            let mut more = std::pin::pin!(self.synced.notified());
            // Before the look: what is synced after it is not missed.
            more.as_mut().enable();
            {
                let state = self.state.lock();
                if index < state.synced_next || index >= state.next_index() {
                    return Ok(());
                }
                state.check_open()?;
            }
            more.await;
        }
    }

    /// Takes nothing any more: the partition is deleted or its disk failed.
    pub(crate) fn close(&self, why: &'static str) {
        self.state.lock().closed.get_or_insert(why);
        self.synced.notify_waiters();
    }
}

/// What the writer thread tells the log.
impl LogInner {
    /// What to write beside an operation: the bounds, and the commit index if
    /// the disk has another one. A commit index beyond what is written waits.
    pub(crate) fn writing(&self, bounds: Option<Bounds>) -> (Bounds, Option<LogId>) {
        let mut state = self.state.lock();
        if let Some(bounds) = bounds {
            state.written = bounds;
        }
        let written = state.written;
        let last = written.last();
        let committed = state.committed.filter(|committed| {
            state.is_committed_dirty && last.is_some_and(|last| committed.index <= last.index)
        });
        if committed.is_some() {
            state.is_committed_dirty = false;
        }
        (written, committed)
    }

    /// Entries before `next_index` that were appended in `epoch` are durable.
    pub(crate) fn appended(&self, next_index: u64, epoch: u64) {
        let mut state = self.state.lock();
        // Of what was cut off after it, and appended anew, nothing is durable.
        let cut = state.cuts.iter().filter(|(at, _)| *at > epoch).map(|(_, from)| *from).min();
        let synced = next_index.min(cut.unwrap_or(u64::MAX));
        state.synced_next = state.synced_next.max(synced);
        drop(state);
        self.synced.notify_waiters();
    }

    /// The oldest truncation is written, and so is every append before it.
    pub(crate) fn truncated(&self) {
        self.state.lock().cuts.pop_front();
    }

    pub(crate) fn voted(&self, vote: Vote) {
        self.state.lock().vote = Some(vote);
    }

    /// Lets go of durable entries before `next_index`: the disk has them.
    pub(crate) fn release(&self, next_index: u64) {
        let mut state = self.state.lock();
        let end = next_index.min(state.synced_next);
        self.drop_tail(&mut state, end);
        if state.tail.is_empty() {
            state.tail.shrink_to(16);
        }
    }

    /// Lets go of all durable entries, and of the room for them.
    pub(super) fn rest(&self) {
        let mut state = self.state.lock();
        let end = state.synced_next;
        self.drop_tail(&mut state, end);
        state.tail.shrink_to_fit();
    }

    fn drop_tail(&self, state: &mut State, next_index: u64) {
        while let Some(entry) = state.tail.front()
            && entry.log_id.index < next_index
        {
            self.tail_bytes.take(entry.len_bytes());
            state.tail.pop_front();
        }
    }

    /// Whether memory has entries before `next_index`.
    pub(crate) fn has_before(&self, next_index: u64) -> bool {
        self.state.lock().tail.front().is_some_and(|entry| entry.log_id.index < next_index)
    }
}

impl Drop for LogInner {
    fn drop(&mut self) {
        let bytes = self.state.get_mut().tail.iter().map(Entry::len_bytes).sum();
        self.tail_bytes.take(bytes);
    }
}
