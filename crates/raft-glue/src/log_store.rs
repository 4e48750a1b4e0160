//! openraft's log storage on a [`PartitionLog`].
//!
//! The log itself orders votes, appends, truncations and purges and makes them
//! durable; here is only translation, and the bookkeeping of how many bytes
//! the log's tail holds.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds, RangeInclusive};
use std::sync::Arc;

use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use partition_store::PartitionLog;
use partition_types::LogId;

use crate::convert::{
    from_raft_entry, from_raft_log_id, from_raft_vote, to_raft_entry, to_raft_log_id, to_raft_vote,
    unread,
};
use crate::lead::Won;
use crate::tail::TailBytes;
use crate::types::{RaftEntry, RaftLogId, RaftVote, TypeConfig};

/// Entries of about this many bytes go into one message or one apply.
const READ_BYTES_MAX: usize = 1 << 20;

/// Of so many entries at a time only the ids are passed on.
pub(crate) const UNREAD_MAX: u64 = 1024;

/// A group's log as openraft sees it. All clones are one log.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: PartitionLog,
    tail: Arc<TailBytes>,
    won: Arc<Won>,
}

impl LogStore {
    pub(crate) fn new(log: PartitionLog, tail: Arc<TailBytes>, won: Arc<Won>) -> Self {
        Self { log, tail, won }
    }

    /// The part of `range` that the log may contain.
    fn clamp(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let bounds = self.log.bounds();
        let first = bounds.purged.map_or(0, |id| id.index + 1);
        let end = bounds.last.map_or(0, |id| id.index + 1);
        let from = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&index) => index.saturating_add(1),
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        from.max(first)..to.min(end)
    }

    pub(crate) async fn read(&self, range: Range<u64>) -> io::Result<Vec<RaftEntry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self.log.entries(range, READ_BYTES_MAX).await?;
        entries.into_iter().map(to_raft_entry).collect()
    }

    /// The ids of the entries at the beginning of a range, as far as they were written by other
    /// leaders than the last entry of the log.
    async fn earlier(&self, range: &Range<u64>) -> io::Result<Vec<LogId>> {
        let Some(last) = self.log.bounds().last else { return Ok(Vec::new()) };
        let range = range.start..range.end.min(range.start.saturating_add(UNREAD_MAX));
        let mut ids = Vec::new();
        for of_leader in self.log.last_of_leaders(range.clone()).await? {
            if of_leader.is_by_leader_of(last) {
                break;
            }
            let next = range.start + ids.len() as u64;
            ids.extend((next..=of_leader.index).map(|index| LogId { index, ..of_leader }));
        }
        Ok(ids)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<RaftEntry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut rest = self.clamp(&range);
        let mut all = Vec::new();
        while !rest.is_empty() {
            let some = self.read(rest.clone()).await?;
            let Some(last) = some.last() else {
                let hole = format!("log has no entry {} of {rest:?}", rest.start);
                return Err(io::Error::new(io::ErrorKind::InvalidData, hole));
            };
            rest.start = last.log_id.index + 1;
            all.extend(some);
        }
        Ok(all)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.log.vote().map(to_raft_vote))
    }

    /// Only replication asks for them. What earlier leaders wrote is not read: the follower that
    /// it is for most likely has it, see `append`.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<RaftEntry>> {
        let range = self.clamp(&(start..end));
        let earlier = self.earlier(&range).await?;
        let own = range.start + earlier.len() as u64..range.end;
        let mut entries: Vec<_> = earlier.into_iter().map(unread).collect();
        if (entries.len() as u64) < UNREAD_MAX {
            let read = self.read(own.clone()).await?;
            // Purged meanwhile: then they do not continue the others.
            let is_gapless = read.first().is_some_and(|first| first.log_id.index == own.start);
            if entries.is_empty() || is_gapless {
                entries.extend(read);
            }
        }
        Ok(entries)
    }

    /// Each start asks for it. The log knows better than to look at one entry after the other.
    async fn get_key_log_ids(
        &mut self,
        range: RangeInclusive<RaftLogId>,
    ) -> io::Result<Vec<RaftLogId>> {
        let indexes = range.start().index..range.end().index.saturating_add(1);
        let ids = self.log.last_of_leaders(indexes).await?;
        Ok(ids.into_iter().map(to_raft_log_id).collect())
    }

    /// In pieces: what a follower has to apply after a pause may not fit into
    /// memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let rest = self.clamp(&range);
        let pieces = futures::stream::try_unfold((self.clone(), rest), |(log, mut rest)| async {
            let some = log.read(rest.clone()).await?;
            let Some(last) = some.last() else { return Ok(None) };
            rest.start = last.log_id.index + 1;
            let some = futures::stream::iter(some.into_iter().map(io::Result::Ok));
            Ok::<_, io::Error>(Some((some, (log, rest))))
        });
        futures::TryStreamExt::try_flatten(pieces)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let bounds = self.log.bounds();
        Ok(LogState {
            last_purged_log_id: bounds.purged.map(to_raft_log_id),
            last_log_id: bounds.last.or(bounds.purged).map(to_raft_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let vote = from_raft_vote(*vote);
        self.won.stores(vote);
        self.log.save_vote(vote).await
    }

    /// Not durable by itself: it goes to disk with the next synced write. What
    /// is lost of it is applied again when a leader tells the commit index.
    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.log.save_committed(committed.map(from_raft_log_id));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.log.committed().map(to_raft_log_id))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(from_raft_entry).collect::<io::Result<Vec<_>>>()?;
        self.tail.append(entries.iter().map(|entry| (entry.log_id.index, entry.len_bytes())));
        self.log.append(entries, move |result| flushed.io_completed(result))
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let last = last.map(from_raft_log_id);
        self.tail.truncate(last.map_or(0, |id| id.index + 1));
        self.log.truncate_after(last).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        self.log.purge(from_raft_log_id(upto)).await
    }
}
