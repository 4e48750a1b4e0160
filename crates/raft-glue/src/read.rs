//! Read-index: a read that sees everything acknowledged before it began,
//! without writing anything.
//!
//! Leases are not used: a voter that restarts has forgotten its own.

use std::time::Duration;

use openraft::LinearizerOption;
use openraft::errors::{LinearizableReadError, RaftError};
use partition_types::{LogId, NodeId};
use tokio::time::Instant;

use crate::convert::from_raft_log_id;
use crate::group::Group;
use crate::protocol::Voice;
use crate::{Partition, ProbeAnswer, ProposeError, RaftReply, RaftRequest, TransportError};

/// Between two tries while the leadership settles.
const SETTLE_POLL: Duration = Duration::from_millis(20);

impl Partition {
    /// Waits until the local state has everything that was acknowledged
    /// before the call. Works on followers too: they ask the leader.
    ///
    /// # Errors
    /// [`ProposeError::NoLeader`] when no leader could be confirmed within about
    /// one election time; nothing else than trying again or elsewhere helps.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        let read = self.group.read_index().await?;
        match read {
            Some(read) => self.group.wait_applied(read.index).await,
            None => Ok(()),
        }
    }

    /// Waits until the local state has applied the entry at `index`.
    ///
    /// # Errors
    /// [`ProposeError::Quarantined`] or [`ProposeError::Stopped`].
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    pub async fn wait_applied(&self, index: u64) -> Result<(), ProposeError> {
        self.group.wait_applied(index).await
    }
}

impl Group {
    async fn read_index(&self) -> Result<Option<LogId>, ProposeError> {
        let give_up = Instant::now() + self.shared.config.election_timeout.0;
        loop {
            self.sound()?;
            self.seek().await;
            let read = match self.leader() {
                Some(leader) if leader == self.shared.config.node_id => {
                    self.is_active();
                    self.lead_read_index(self.settle_time()).await
                }
                Some(leader) => {
                    let answer = self.ask_read_index(leader, self.settle_time()).await;
                    answer.map_err(|_| ProposeError::NoLeader)
                }
                None => Err(ProposeError::NoLeader),
            };
            match read {
                Err(ProposeError::NoLeader) => {}
                settled => return settled,
            }
            if Instant::now() >= give_up {
                return Err(ProposeError::NoLeader);
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// As leader: a quorum confirms the leadership now. [`ProposeError::NoLeader`]
    /// when it did not, or when this replica does not lead.
    pub(crate) async fn lead_read_index(
        &self,
        wait: Duration,
    ) -> Result<Option<LogId>, ProposeError> {
        let body = self.healthy()?;
        // A client's read, or a node that starts and looks for its leaders.
        self.has_changed();
        let fresh = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(wait);
        match body.raft.get_read_log_id(fresh).await {
            Ok((read, _applied)) => Ok(Some(from_raft_log_id(*read.log_id()))),
            Err(RaftError::APIError(
                LinearizableReadError::ForwardToLeader(_)
                | LinearizableReadError::QuorumNotEnough(_),
            )) => Err(ProposeError::NoLeader),
            Err(RaftError::Fatal(_)) => Err(self.stopped()),
        }
    }

    /// Asks another replica, as the leader that it may be.
    pub(crate) async fn ask_read_index(
        &self,
        to: NodeId,
        wait: Duration,
    ) -> Result<Option<LogId>, TransportError> {
        let member = self.member(to).ok_or_else(|| {
            TransportError::Unreachable(format!("node {to} is no member of the group"))
        })?;
        let transport = &self.shared.transport;
        let call = transport.call(to, &member, self.id, RaftRequest::ReadIndex, wait);
        let reply = tokio::time::timeout(wait, call).await;
        match reply.map_err(|_| TransportError::Timeout)?? {
            RaftReply::ReadIndex { read } => Ok(read),
            other => Err(TransportError::Failed(format!("answer of another kind: {other:?}"))),
        }
    }

    /// Whether another voter could lead if it were told to.
    pub(crate) async fn readiness(&self, of: NodeId) -> Voice {
        let answer = self.probe(of, self.shared.config.heartbeat_interval).await;
        answer.map_or(Voice::Silent, ProbeAnswer::voice)
    }
}
