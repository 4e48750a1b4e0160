//! A handle on one partition of this node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use partition_store::PartitionState;
use partition_types::{LogId, Member, NodeId, PartitionId};

use crate::convert::from_raft_log_id;
use crate::group::Group;
use crate::protocol::Cause;
use crate::{PartitionStatus, ProposeError, ReplicaState, Role, SnapshotError};

/// How long a snapshot may take to be noted and the log to be purged.
const SNAPSHOT_MAX: Duration = Duration::from_secs(10);
const SNAPSHOT_POLL: Duration = Duration::from_millis(5);

/// One partition of this node. Cheap to clone; all clones are one replica.
#[derive(Clone)]
pub struct Partition {
    pub(crate) group: Arc<Group>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({})", self.group.id)
    }
}

impl Partition {
    /// Which partition.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.group.id
    }

    /// The replica as it is now.
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        let group = &self.group;
        let mut status = PartitionStatus {
            id: group.id,
            state: self.replica_state(),
            role: Role::Learner,
            term: 0,
            leader: group.leader(),
            last: None,
            committed: None,
            applied: None,
            snapshot: None,
            purged: None,
            size_bytes: 0,
            extent_count: 0,
            disk: String::new(),
            membership: partition_types::Membership::default(),
            membership_log_id: None,
            cause: group.cause(),
        };
        let Some(store) = &group.store else { return status };
        if let Some(view) = group.view() {
            status.role = role(view.state);
            status.term = view.term;
        }
        (status.membership_log_id, status.membership) = group.members();
        let (log, state) = (store.log(), store.state());
        // Without a Raft: what a crash would leave is what a snapshot would cover.
        status.snapshot = match group.running() {
            Some(body) => body.raft.metrics().borrow_watched().snapshot.map(from_raft_log_id),
            None => state.durable_applied(),
        };
        let bounds = log.bounds();
        status.purged = bounds.purged;
        status.applied = state.applied();
        status.committed = self.committed().max(status.applied);
        status.last = bounds.last.or(bounds.purged).max(status.committed);
        let usage = state.usage();
        status.size_bytes = usage.size_bytes;
        status.extent_count = usage.extent_count;
        status.disk = store.disk_path().display().to_string();
        status
    }

    /// Who leads, by live knowledge: never from the vote of a former life.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.group.leader()
    }

    /// Likewise, with its addresses as the group recorded them.
    #[must_use]
    pub fn leader_member(&self) -> Option<(NodeId, Member)> {
        let leader = self.group.leader()?;
        Some((leader, self.group.member(leader)?))
    }

    /// Whether this replica sleeps: its group is idle, and has no heartbeats and no
    /// election timers until somebody needs it.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.group.is_asleep()
    }

    /// Whether this replica has won an election and leads as soon as its vote is on the
    /// disk: it cannot be kept from that.
    #[must_use]
    pub fn is_winning(&self) -> bool {
        self.group.is_winning()
    }

    /// Whether this replica leads, or believes so.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.group.view().is_some_and(|view| view.leads())
    }

    /// The members it was created with, the preferred leader first; none for
    /// a replica that joined a living group.
    #[must_use]
    pub fn created_with(&self) -> Vec<(NodeId, Member)> {
        self.group.created_with.clone()
    }

    /// The local state.
    ///
    /// # Errors
    /// [`ProposeError::Quarantined`]: a bad replica shows nothing.
    pub fn state(&self) -> Result<&PartitionState, ProposeError> {
        Ok(self.group.sound()?.state())
    }

    /// Whether the disk takes `len_bytes` more.
    ///
    /// # Errors
    /// [`ProposeError::DiskFull`]; [`ProposeError::Quarantined`].
    pub fn admit(&self, len_bytes: usize) -> Result<(), ProposeError> {
        let store = self.group.sound()?;
        store.admit(len_bytes).map_err(|_| ProposeError::DiskFull)
    }

    /// Takes the replica out of service for good, as
    /// [`PartitionHost::quarantine`](crate::PartitionHost::quarantine) does.
    pub fn quarantine(&self, cause: &str) {
        self.group.quarantine(cause);
    }

    /// Why the replica is quarantined; `None` when it is not.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        self.group.cause()
    }

    /// Flushes what is applied, and purges the log up to it. Returns the index.
    ///
    /// # Errors
    /// [`SnapshotError`].
    ///
    /// # Cancel safety
    /// Safe: it may be done or not.
    pub async fn snapshot(&self) -> Result<u64, SnapshotError> {
        self.group.sound()?;
        let body = self.group.activate(Cause::Client).await?;
        let state = body.store.state();
        state.flush().await.map_err(|error| SnapshotError::Failed(error.to_string()))?;
        let Some(durable) = state.durable_applied() else { return Ok(0) };
        let upto = durable.index;
        let purged = async {
            loop {
                if self.group.purge(&body, upto).await.is_err() {
                    return Err(SnapshotError::Propose(self.group.stopped()));
                }
                let purged = body.store.log().bounds().purged;
                if purged.is_some_and(|id| id.index >= upto) {
                    return Ok(());
                }
                tokio::time::sleep(SNAPSHOT_POLL).await;
            }
        };
        match tokio::time::timeout(SNAPSHOT_MAX, purged).await {
            Ok(done) => done?,
            // A replication that is reading the log keeps it; it goes later.
            Err(_) => tracing::debug!(partition_id = %self.id(), "log is in use, purged later"),
        }
        Ok(upto)
    }

    fn committed(&self) -> Option<LogId> {
        let Some(body) = self.group.running() else {
            return self.group.store.as_ref()?.log().committed();
        };
        let metrics = body.raft.data_metrics();
        let committed = metrics.borrow_watched().local_committed;
        committed.map(from_raft_log_id)
    }

    fn replica_state(&self) -> ReplicaState {
        if self.group.cause().is_some() {
            ReplicaState::Quarantined
        } else if !self.group.fence.is_open() {
            ReplicaState::Fenced
        } else if self.group.is_unloaded() && self.group.is_level() {
            // Whoever needs a leader has one made.
            ReplicaState::Ready
        } else if self.group.leader().is_none() {
            ReplicaState::Electing
        } else {
            ReplicaState::Ready
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Candidate => Role::Candidate,
        ServerState::Follower => Role::Follower,
        ServerState::Learner | ServerState::Shutdown => Role::Learner,
    }
}
