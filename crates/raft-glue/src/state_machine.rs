//! openraft's state machine on a [`PartitionState`].
//!
//! Snapshots are *lazy*: what openraft holds and passes around is a handle that
//! reads nothing. The consistent view is opened when the bytes are about to be
//! sent, and what is sent is described by that view, not by the handle's meta,
//! which may be older.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use partition_store::{PartitionState, Recovered, SnapshotSource, StagedSnapshot};
use partition_types::{Entry, LogId};

use crate::convert::{
    from_raft_entry, from_raft_log_id, from_raft_membership, to_raft_log_id,
    to_raft_stored_membership,
};
use crate::replay::Replay;
use crate::types::{RaftLogId, RaftSnapshot, RaftSnapshotMeta, RaftStoredMembership, TypeConfig};

/// One write to the store takes about this many bytes of entries.
const APPLY_BYTES_MAX: usize = 4 << 20;
/// And at most this many of them.
const APPLY_ENTRIES_MAX: usize = 1024;

/// A group's state as openraft sees it.
pub(crate) struct StateMachine {
    replay: Arc<Replay>,
    /// What openraft is told as long as the state is behind it.
    recovered: Recovered,
}

/// The data of a snapshot that openraft passes around.
pub(crate) enum SnapshotData {
    /// Of this replica's own state, not opened yet.
    Lazy(SnapshotSource),
    /// Received and complete, not installed yet. Dropped, it is discarded.
    Staged(Box<StagedSnapshot>),
}

impl StateMachine {
    pub(crate) fn new(replay: Arc<Replay>, recovered: Recovered) -> Self {
        Self { replay, recovered }
    }

    fn state(&self) -> &PartitionState {
        self.replay.store().state()
    }

    fn current(&self) -> io::Result<RaftSnapshot> {
        let state = self.state();
        let (log_id, membership) = state.membership();
        Ok(RaftSnapshot {
            meta: RaftSnapshotMeta {
                last_log_id: state.applied().map(to_raft_log_id),
                last_membership: to_raft_stored_membership(log_id, &membership)?,
            },
            snapshot: SnapshotData::Lazy(state.snapshot()),
        })
    }

    async fn apply_batch(&self, batch: &mut Batch) -> io::Result<()> {
        let Some(last) = batch.entries.last() else { return Ok(()) };
        let applied_next = last.log_id.index + 1;
        // A quorum may have them on disk while this replica does not yet. The
        // state must never be ahead of the log that it is checked against.
        self.replay.store().log().synced(last.log_id.index).await?;
        let outcomes = self.state().apply(std::mem::take(&mut batch.entries)).await?;
        self.replay.applied(applied_next);
        for (outcome, responder) in outcomes.into_iter().zip(batch.responders.drain(..)) {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        batch.len_bytes = 0;
        Ok(())
    }

    /// Leaves entries to the replay that is under way.
    async fn defer<S>(&self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut last: Option<LogId> = None;
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            if responder.is_some() {
                // Who waits for an answer asked a leader, and a fenced replica is none.
                return Err(io::Error::other("a replica that is being loaded leads"));
            }
            last = Some(from_raft_log_id(entry.log_id));
        }
        match last {
            Some(last) if !self.replay.defer(last) => self.replay.apply_from_log(last).await,
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    len_bytes: usize,
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = LazyBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
        let state = self.state();
        let applied = state.applied();
        if self.replay.is_behind() && self.recovered.applied > applied {
            let Recovered { applied, membership, membership_log_id } = &self.recovered;
            let membership = to_raft_stored_membership(*membership_log_id, membership)?;
            return Ok((applied.map(to_raft_log_id), membership));
        }
        let (log_id, membership) = state.membership();
        let membership = to_raft_stored_membership(log_id, &membership)?;
        Ok((applied.map(to_raft_log_id), membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        if self.replay.is_behind() {
            return self.defer(entries).await;
        }
        let mut batch = Batch::default();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let entry = from_raft_entry(entry)?;
            batch.len_bytes += entry.len_bytes();
            batch.entries.push(entry);
            batch.responders.push(responder);
            if batch.len_bytes >= APPLY_BYTES_MAX || batch.entries.len() >= APPLY_ENTRIES_MAX {
                self.apply_batch(&mut batch).await?;
            }
        }
        self.apply_batch(&mut batch).await
    }

    async fn get_snapshot_builder(&mut self) -> LazyBuilder {
        LazyBuilder(Some(self.current()))
    }

    async fn install_snapshot(
        &mut self,
        meta: &RaftSnapshotMeta,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let staged = match snapshot {
            SnapshotData::Staged(staged) => *staged,
            SnapshotData::Lazy(source) => stage(self.state(), source).await?,
        };
        let last = meta
            .last_log_id
            .map(from_raft_log_id)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "snapshot of nothing"))?;
        let membership_log_id = meta.last_membership.log_id().map(from_raft_log_id);
        let membership = from_raft_membership(meta.last_membership.membership());
        let install = self.state().install(staged, last, membership_log_id, membership);
        self.replay.replaced(last, install).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        self.state().applied().map(|_| self.current()).transpose()
    }
}

/// Copies another replica's state on this machine, as if it had been received.
async fn stage(state: &PartitionState, source: SnapshotSource) -> io::Result<StagedSnapshot> {
    let mut reader = source.open().await?;
    let mut sink = state.begin_install().await?;
    while let Some(chunk) = reader.next_chunk().await? {
        sink.write(Bytes::clone(&chunk)).await?;
    }
    sink.finish().await
}

/// "Builds" the snapshot that the state was when the builder was asked for.
pub(crate) struct LazyBuilder(Option<io::Result<RaftSnapshot>>);

impl RaftSnapshotBuilder<TypeConfig> for LazyBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        self.0.take().expect("a builder builds once")
    }
}
