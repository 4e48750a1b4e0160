//! Handing a leadership over.
//!
//! openraft's transfer never times out: the leader takes nothing more and sends
//! no heartbeats until another one appears. So a target is asked first whether
//! it could take over, and if nothing happens the next one is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::{Instant as _, LogIdOptionExt};
use openraft::type_config::async_runtime::watch::WatchReceiver;
use partition_types::NodeId;

use crate::convert::{from_raft_membership, from_raft_node};
use crate::group::Group;
use crate::{Partition, ProposeError, TransferError};

/// After this time without a new leader, the next target is told.
const REISSUE_AFTER: Duration = Duration::from_millis(300);
/// Between two looks at what the followers have.
const CATCH_UP_POLL: Duration = Duration::from_millis(20);
/// A follower may lack this many entries when a transfer begins: the rest
/// reaches it before it campaigns.
const LAG_MAX: u64 = 64;

impl Partition {
    /// Hands the leadership to a voter, or to another caught-up one when that
    /// one does not take it within 300 ms. Returns who leads then.
    ///
    /// # Errors
    /// [`TransferError`]. After [`TransferError::Timeout`] it is open who leads.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a hand-over that has begun to itself.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<NodeId, TransferError> {
        let group = &self.group;
        let _turn = group.changing.lock().await;
        let followers = group.followers()?;
        if to == group.shared.config.node_id {
            return Ok(to);
        }
        if !followers.iter().any(|follower| follower.id == to) {
            return Err(TransferError::NotAVoter(to));
        }
        group.hand_over(Some(to)).await
    }
}

/// Hands the leadership to any caught-up voter that serves clients.
pub(crate) async fn give_away(group: &Arc<Group>) -> Result<NodeId, TransferError> {
    let _turn = group.changing.lock().await;
    if group.followers()?.is_empty() {
        return Err(TransferError::SoleVoter);
    }
    group.hand_over(None).await
}

/// Another voter, as its leader sees it.
struct Follower {
    id: NodeId,
    /// Entries that it is not known to have.
    lag: u64,
    /// Since it last acknowledged anything.
    silent: Option<Duration>,
}

impl Group {
    /// The other voters, the best target first. Fails when this replica does
    /// not lead.
    fn followers(&self) -> Result<Vec<Follower>, TransferError> {
        let Some(body) = &self.body else { return Err(self.stopped().into()) };
        let metrics = body.raft.metrics();
        let (state, last, membership, replication, heartbeat) = {
            let metrics = metrics.borrow_watched();
            (
                metrics.state,
                metrics.last_log_index,
                Arc::clone(&metrics.membership_config),
                metrics.replication.clone().unwrap_or_default(),
                metrics.heartbeat.clone().unwrap_or_default(),
            )
        };
        if !state.is_leader() {
            return Err(self.not_leader().into());
        }
        let last_next = last.map_or(0, |index| index + 1);
        let matched = |id: NodeId| {
            replication.iter().find(|(node, _)| **node == id.get()).and_then(|(_, id)| *id)
        };
        let silent = |id: NodeId| {
            let heard = heartbeat.iter().find(|(node, _)| **node == id.get());
            heard.and_then(|(_, at)| *at).map(|at| at.elapsed())
        };
        let me = self.shared.config.node_id;
        let mut followers: Vec<_> = from_raft_membership(membership.membership())
            .voters()
            .into_iter()
            .filter(|id| *id != me)
            .map(|id| Follower {
                id,
                lag: last_next.saturating_sub(matched(id).next_index()),
                silent: silent(id),
            })
            .collect();
        followers.sort_by_key(|follower| (follower.silent.is_none(), follower.lag));
        Ok(followers)
    }

    /// A follower that may be told now: it has nearly everything, was heard of
    /// lately, and says itself that it could lead.
    async fn next_target(&self, wanted: Option<NodeId>, tried: &[NodeId]) -> Option<NodeId> {
        let mut followers = self.followers().ok()?;
        followers.retain(|follower| {
            let lately = follower
                .silent
                .is_some_and(|silent| silent < self.shared.config.election_timeout.0);
            follower.lag <= LAG_MAX && lately && !tried.contains(&follower.id)
        });
        if let Some(at) = followers.iter().position(|follower| Some(follower.id) == wanted) {
            followers[..=at].rotate_right(1);
        }
        for follower in followers {
            if self.is_serving_follower(follower.id).await {
                return Some(follower.id);
            }
        }
        None
    }

    async fn hand_over(&self, wanted: Option<NodeId>) -> Result<NodeId, TransferError> {
        let give_up = Instant::now() + self.shared.config.election_timeout.1;
        let term = self.view().map_or(0, |view| view.term);
        let mut tried = Vec::new();
        loop {
            let Some(body) = &self.body else { return Err(self.stopped().into()) };
            match self.next_target(wanted, &tried).await {
                Some(target) => {
                    tried.push(target);
                    tracing::debug!(partition_id = %self.id, %target, "hand over");
                    if body.raft.trigger().transfer_leader(target.get()).await.is_err() {
                        return Err(self.stopped().into());
                    }
                    if let Some(leader) = self.await_successor(term, REISSUE_AFTER).await {
                        return Ok(leader);
                    }
                }
                None if !self.view().is_some_and(|view| view.leads()) => {
                    return self
                        .await_successor(term, give_up.saturating_duration_since(Instant::now()))
                        .await
                        .ok_or(TransferError::Timeout);
                }
                // All were told; a second round costs nothing.
                None if !tried.is_empty() => tried.clear(),
                None => tokio::time::sleep(CATCH_UP_POLL).await,
            }
            if Instant::now() >= give_up {
                let stuck = !tried.is_empty();
                return Err(if stuck { TransferError::Timeout } else { TransferError::NoTarget });
            }
        }
    }

    /// Waits for a leader of a later term than `term`.
    async fn await_successor(&self, term: u64, wait: Duration) -> Option<NodeId> {
        let body = self.body.as_ref()?;
        let me = self.shared.config.node_id.get();
        let mut changes = body.raft.server_metrics();
        let follow = async {
            loop {
                let successor = {
                    let server = changes.borrow_watched();
                    let vote = server.vote;
                    (vote.committed && vote.leader_id.term > term && vote.leader_id.node_id != me)
                        .then_some(vote.leader_id.node_id)
                };
                if let Some(successor) = successor {
                    return from_raft_node(successor);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(wait, follow).await.ok().flatten()
    }
}

impl From<TransferError> for ProposeError {
    /// For callers to whom only the leadership matters.
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Propose(error) => error,
            TransferError::NotAVoter(_)
            | TransferError::NoTarget
            | TransferError::SoleVoter
            | TransferError::Timeout => ProposeError::NoLeader,
        }
    }
}
