//! Finding or making a leader for a group that somebody waits for.
//!
//! A group that nobody used since its nodes came up has no leader: its replicas are
//! not in memory. The first request brings up the one that it came to, and that one
//! asks the others in the order in which they are to lead. A question brings up who is
//! asked, and who may lead begins at once. So the preferred replica is
//! elected after a few messages, and no timer is waited for; where it cannot be
//! reached, the next one is.
//!
//! This decides nothing: an election goes by pre-vote, vote and log as ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use partition_types::NodeId;
use tokio::time::Instant;

use crate::group::Group;
use crate::protocol::{self, Cause, Voice};
use crate::{PeerState, ProposeError, TransportError};

/// How long one that was told is given to be elected, before the next is.
const STEP: Duration = Duration::from_millis(250);
/// Should a word of a leader go unnoticed, it is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Whether somebody looks for a leader already.
#[derive(Default)]
pub(crate) struct Search(AtomicBool);

impl Group {
    /// Where groups may be out of memory: has a leader found or made, and waits for
    /// it, for at most the longest election. Nothing where one is known.
    pub(crate) async fn seek(&self) {
        if !self.shared.is_on_demand() || self.leader().is_some() {
            return;
        }
        let group = self.me();
        if group.sound().is_err() || group.activate(Cause::Client).await.is_err() {
            return;
        }
        group.begin_search();
        self.await_leader(self.shared.config.election_timeout.1).await;
    }

    /// Somebody on another node waits for the group: has a leader made.
    pub(crate) fn is_sought(self: &Arc<Self>) {
        let may_lead = protocol::timer_may_run(self.fence.state(), self.shared.leads.is_serving());
        if !self.shared.is_on_demand() || !may_lead || self.leader().is_some() {
            return;
        }
        let group = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            if group.activate(Cause::Client).await.is_ok() {
                group.begin_search();
            }
        });
    }

    fn begin_search(self: &Arc<Self>) {
        if self.search.0.swap(true, Ordering::AcqRel) {
            return;
        }
        let group = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            group.search().await;
            group.search.0.store(false, Ordering::Release);
        });
    }

    async fn search(self: &Arc<Self>) {
        let give_up = Instant::now() + self.shared.config.election_timeout.1;
        let me = self.shared.config.node_id;
        while Instant::now() < give_up && !self.is_stopped() {
            for id in self.heirs() {
                if self.leader().is_some() {
                    return;
                }
                let goes_for_it = match id == me {
                    true => self.campaign_if_free().await,
                    false => self.may_lead_there(id).await,
                };
                if goes_for_it && self.await_leader(STEP).await {
                    return;
                }
            }
            if self.await_leader(STEP).await {
                return;
            }
        }
    }

    /// Who may lead, the preferred one first, and last those whose node is away.
    fn heirs(&self) -> Vec<NodeId> {
        let mut heirs = self.voters_by_preference();
        heirs.sort_by_key(|id| self.shared.balance.state_of(*id) == Some(PeerState::Away));
        heirs
    }

    async fn campaign_if_free(&self) -> bool {
        if !protocol::timer_may_run(self.fence.state(), self.shared.leads.is_serving()) {
            return false;
        }
        let Some(body) = self.running() else { return false };
        tracing::debug!(partition_id = %self.id, "campaign for whoever waits");
        // openraft's own pre-vote waits until the lease of the last leader is over.
        let succeeds = self.succeeds_now().await;
        body.raft.trigger().elect(!succeeds).await.is_ok()
    }

    /// Whether another replica leads, or goes for it now.
    async fn may_lead_there(&self, id: NodeId) -> bool {
        match self.ask_read_index(id, self.shared.config.heartbeat_interval).await {
            Ok(_) => true,
            Err(TransportError::Refused(refusal)) => {
                Voice::of_refusal(refusal.reason) == Voice::Serving
            }
            Err(_) => false,
        }
    }

    /// Whether a leader is known before so much time is over.
    async fn await_leader(&self, wait: Duration) -> bool {
        let give_up = Instant::now() + wait;
        loop {
            let mut led = std::pin::pin!(self.led.notified());
            // Before the look: what is said after it is not missed.
            led.as_mut().enable();
            if self.leader().is_some() {
                return true;
            }
            let now = Instant::now();
            if now >= give_up || self.is_stopped() {
                return false;
            }
            let _ = tokio::time::timeout_at(give_up.min(now + LOOK_AGAIN), led).await;
        }
    }
}

impl crate::Partition {
    /// Whether the replica is known by what is on disk only, and its group is brought into
    /// memory when it is needed.
    #[must_use]
    pub fn is_unloaded(&self) -> bool {
        self.group.is_unloaded()
    }

    /// Before a request: where groups come up on demand and no leader of this one is
    /// known, has it brought up and a leader found or made, and waits for that, for at
    /// most the longest election. Nothing otherwise.
    ///
    /// # Cancel safety
    /// Safe: what was begun goes on.
    pub async fn seek_leader(&self) {
        self.group.seek().await;
    }

    /// Brings the group's Raft into memory, where it is not; it may go again when it
    /// sleeps for long.
    ///
    /// # Errors
    /// [`ProposeError::Quarantined`] when it could not be made: the replica is
    /// quarantined by that. [`ProposeError::Stopped`].
    ///
    /// # Cancel safety
    /// Safe: what was begun goes on.
    pub async fn activate(&self) -> Result<(), ProposeError> {
        self.group.sound()?;
        self.group.activate(Cause::Client).await.map(drop)
    }
}
