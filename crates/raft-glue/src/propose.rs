//! Proposing a command, and knowing afterwards whether it may be applied.
//!
//! *Surely not applied* is: it was refused before it was appended, or could not
//! even be handed to the group. Everything else that brings no outcome is
//! *unknown*: the entry may be in somebody's log, and a later leader may commit
//! it. That includes an entry cut off this replica's own log.

use std::time::Duration;

use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use openraft::impls::OneshotResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::TypeConfigExt;
use partition_types::{Command, Outcome};
use tokio::time::Instant;

use crate::body::Body;
use crate::group::Group;
use crate::types::{Data, TypeConfig};
use crate::{Partition, ProposeError};

/// Between two tries while the leadership settles.
const SETTLE_POLL: Duration = Duration::from_millis(10);

/// What one try brought.
enum Tried {
    Done(Result<Outcome, ProposeError>),
    /// Not appended.
    Rejected(ForwardToLeader<TypeConfig>),
}

impl Partition {
    /// Proposes a command and waits until it is applied.
    ///
    /// A leader that waits for its first acknowledgements, or is about to hand
    /// over, is given up to two heartbeats; beyond that the caller decides.
    ///
    /// # Errors
    /// [`ProposeError`]; only [`ProposeError::OutcomeUnknown`] leaves it open
    /// whether the command was or will be applied.
    ///
    /// # Cancel safety
    /// Dropping the future after the first poll leaves the outcome unknown.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let result = self.group.propose(command).await;
        let proposals = &self.group.shared.metrics.proposals;
        match &result {
            Ok(_) => proposals.applied.increment(1),
            Err(ProposeError::OutcomeUnknown) => proposals.unknown.increment(1),
            Err(_) => proposals.refused.increment(1),
        }
        result
    }
}

impl Group {
    async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let store = self.sound()?;
        let len_bytes = command.op.data_len_bytes();
        if len_bytes > 0 && store.admit(len_bytes).is_err() {
            return Err(ProposeError::DiskFull);
        }
        self.seek().await;
        // Led from elsewhere, as far as is known.
        let Some(body) = self.running() else { return Err(self.not_leader()) };
        self.wake_to_lead().await;
        let give_up = Instant::now() + self.settle_time();
        loop {
            let forward = match self.try_propose(&body, command.clone()).await {
                Tried::Done(result) => return result,
                Tried::Rejected(forward) => forward,
            };
            // Others lead, or nobody does: waiting here helps nobody.
            let settles = matches!(
                forward.reason,
                ForwardReason::LeaseExpired | ForwardReason::LeadershipTransfer
            );
            if !settles || Instant::now() >= give_up {
                return Err(self.not_leader());
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// Before something is proposed. A leader that slept has heard of nobody for
    /// long, and takes nothing until a quorum says again that it leads.
    pub(crate) async fn wake_to_lead(&self) {
        let slept = self.is_asleep();
        self.is_active();
        if slept && self.view().is_some_and(|view| view.leads()) {
            // When it fails, the proposal does too, and says why.
            let _ = self.lead_read_index(self.settle_time()).await;
        }
    }

    async fn try_propose(&self, body: &Body, command: Command) -> Tried {
        let (tx, rx) = TypeConfig::oneshot::<ClientWriteResult<TypeConfig>>();
        let responder = OneshotResponder::new(tx);
        if body.raft.client_write_ff(Data::Command(command), Some(responder)).await.is_err() {
            // The group takes no more messages, so it did not take this one.
            return Tried::Done(Err(self.stopped()));
        }
        let unknown = Tried::Done(Err(ProposeError::OutcomeUnknown));
        match rx.await {
            Ok(Ok(response)) => Tried::Done(Ok(response.data)),
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Tried::Rejected(forward),
            Ok(Err(_)) | Err(_) => unknown,
        }
    }

    /// How long a leadership may take to settle before a caller is told.
    pub(crate) fn settle_time(&self) -> Duration {
        self.shared.config.heartbeat_interval * 2
    }

    /// Why this replica cannot do what only the leader can.
    pub(crate) fn not_leader(&self) -> ProposeError {
        if let Some(cause) = self.cause() {
            return ProposeError::Quarantined { cause };
        }
        let me = self.shared.config.node_id;
        match self.leader().filter(|leader| *leader != me) {
            Some(leader) => ProposeError::NotLeader {
                leader: self.member(leader).map(|member| (leader, member)),
                term: self.view().map_or(0, |view| view.term),
            },
            None => ProposeError::NoLeader,
        }
    }

    /// Why this replica does nothing at all.
    pub(crate) fn stopped(&self) -> ProposeError {
        self.cause().map_or(ProposeError::Stopped, |cause| ProposeError::Quarantined { cause })
    }
}
