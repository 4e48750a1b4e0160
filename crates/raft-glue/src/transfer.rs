//! Handing a leadership over.
//!
//! openraft's transfer never times out: the leader takes nothing more and sends
//! no heartbeats until another one appears. So a target is asked first whether
//! it could take over, and if nothing happens the next one is told.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use openraft::LogIdOptionExt;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use partition_types::NodeId;
use tokio::time::Instant;

use crate::convert::{from_raft_membership, from_raft_node};
use crate::group::Group;
use crate::pace::Turns;
use crate::protocol::{Follower, Target, Voice, choose_target, order_followers};
use crate::{Partition, ProposeError, TransferError};

/// After this time without a new leader, the next target is told.
const REISSUE_AFTER: Duration = Duration::from_millis(300);
/// Between two looks at what the followers have.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A follower may lack this many entries when a leadership is given back, which
/// is never urgent.
const HAND_BACK_LAG_MAX: u64 = 64;
/// Looks in a row that must find everybody else silent before it is believed: a
/// connection may just be made anew.
const ALONE_LOOKS: u32 = 3;

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
        group.seek().await;
        let _turn = group.changing.lock().await;
        let followers = group.followers()?;
        if to == group.shared.config.node_id {
            return Ok(to);
        }
        if !followers.iter().any(|follower| follower.id == to) {
            return Err(TransferError::NotAVoter(to));
        }
        group.hand_over(Some(to), None).await
    }
}

/// Hands the leadership to any caught-up voter that serves clients. With `turns` it waits
/// for one of them before it does.
pub(crate) async fn give_away(
    group: &Arc<Group>,
    turns: Option<&Turns>,
) -> Result<NodeId, TransferError> {
    let _turn = group.changing.lock().await;
    if group.followers()?.is_empty() {
        return Err(TransferError::SoleVoter);
    }
    group.hand_over(group.heir(), turns).await
}

/// Hands the leadership to the voter that is to have it, if that one is ready
/// for it now: nobody waits for it.
///
/// # Errors
/// [`TransferError::NoTarget`] when it is not ready, or something else is under
/// way in the group.
pub(crate) async fn hand_back(group: &Arc<Group>, to: NodeId) -> Result<NodeId, TransferError> {
    let Ok(_turn) = group.changing.try_lock() else { return Err(TransferError::NoTarget) };
    let followers = group.followers()?;
    let follower = followers.iter().find(|follower| follower.id == to);
    let lag = follower.ok_or(TransferError::NotAVoter(to))?.lag;
    if lag > HAND_BACK_LAG_MAX || group.readiness(to).await != Voice::Serving {
        return Err(TransferError::NoTarget);
    }
    let term = group.view().map_or(0, |view| view.term);
    group.tell(to).await?;
    match group.await_successor(term, REISSUE_AFTER).await {
        Some(leader) => Ok(leader),
        // Nothing is taken here until somebody leads: anybody will do now.
        None => group.hand_over(Some(to), None).await,
    }
}

impl Group {
    /// Whom a drain asks first: another one for each group, so that what one node
    /// leads does not all go to the same other.
    fn heir(&self) -> Option<NodeId> {
        let me = self.shared.config.node_id;
        let others = self.membership().voters().into_iter().filter(|id| *id != me);
        let others: Vec<NodeId> = others.collect();
        let turn = self.id.get().checked_rem(others.len() as u64)?;
        others.get(usize::try_from(turn).ok()?).copied()
    }

    /// The other voters. Fails when this replica does not lead.
    fn followers(&self) -> Result<Vec<Follower>, TransferError> {
        let Some(body) = self.running() else {
            let why = if self.is_over() { self.stopped() } else { self.not_leader() };
            return Err(why.into());
        };
        self.is_active();
        let metrics = body.raft.metrics();
        let (state, last, membership, replication) = {
            let metrics = metrics.borrow_watched();
            (
                metrics.state,
                metrics.last_log_index,
                Arc::clone(&metrics.membership_config),
                metrics.replication.clone().unwrap_or_default(),
            )
        };
        if !state.is_leader() {
            return Err(self.not_leader().into());
        }
        let last_next = last.map_or(0, |index| index + 1);
        let me = self.shared.config.node_id;
        Ok(from_raft_membership(membership.membership())
            .voters()
            .into_iter()
            .filter(|id| *id != me)
            .map(|id| {
                let matched = replication.get(&id.get()).copied().flatten();
                Follower { id, lag: last_next.saturating_sub(matched.next_index()) }
            })
            .collect())
    }

    /// Looks for a follower that has nearly everything and says itself that it
    /// could lead; `wanted` before all others. `None`: this replica does not
    /// lead any more.
    async fn next_target(&self, wanted: Option<NodeId>, tried: &[NodeId]) -> Option<Target> {
        let mut followers = self.followers().ok()?;
        order_followers(&mut followers, wanted);
        let ask = |some: &[Follower]| {
            join_all(some.iter().map(|follower| self.ask_follower(follower.id)).collect::<Vec<_>>())
        };
        // The first is nearly always ready: then nobody else is asked.
        let (first, others) = followers.split_at(followers.len().min(1));
        let mut answers = ask(first).await;
        if let ready @ Target::Ready(_) = choose_target(first, &answers, tried) {
            return Some(ready);
        }
        answers.extend(ask(others).await);
        Some(choose_target(&followers, &answers, tried))
    }

    /// Whether a follower could lead. A node that goes down has said so, of all its groups:
    /// where a whole cluster goes down, thousands of groups ask nobody, and wait for nobody
    /// who is gone by now.
    async fn ask_follower(&self, id: NodeId) -> Voice {
        match self.shared.balance.has_left(id) {
            true => Voice::Out,
            false => self.readiness(id).await,
        }
    }

    async fn hand_over(
        &self,
        wanted: Option<NodeId>,
        turns: Option<&Turns>,
    ) -> Result<NodeId, TransferError> {
        let give_up = Instant::now() + self.shared.config.election_timeout.1;
        let term = self.view().map_or(0, |view| view.term);
        let mut tried = Vec::new();
        let mut alone = 0;
        loop {
            match self.next_target(wanted, &tried).await {
                Some(Target::Ready(target)) => {
                    let turn = match turns {
                        Some(turns) => Some(turns.next().await),
                        None => None,
                    };
                    tried.push(target);
                    self.tell(target).await?;
                    if let Some(leader) = self.await_successor(term, REISSUE_AFTER).await {
                        if let Some(turn) = turn {
                            turn.done().await;
                        }
                        return Ok(leader);
                    }
                }
                None => {
                    let left = give_up.saturating_duration_since(Instant::now());
                    let successor = self.await_successor(term, left).await;
                    return successor.ok_or(TransferError::Timeout);
                }
                Some(Target::Nobody { is_sure }) if is_sure || alone + 1 == ALONE_LOOKS => {
                    return Err(TransferError::Alone);
                }
                Some(Target::Nobody { .. }) => {
                    alone += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                // All were told; a second round costs nothing.
                Some(Target::Later) => {
                    tried.clear();
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
            if Instant::now() >= give_up {
                let told = !tried.is_empty();
                return Err(if told { TransferError::Timeout } else { TransferError::NoTarget });
            }
        }
    }

    async fn tell(&self, target: NodeId) -> Result<(), TransferError> {
        let Some(body) = self.running() else { return Err(self.stopped().into()) };
        tracing::debug!(partition_id = %self.id, %target, "hand over");
        let told = body.raft.trigger().transfer_leader(target.get()).await;
        told.map_err(|_| self.stopped().into())
    }

    /// Waits for a leader of a later term than `term`.
    async fn await_successor(&self, term: u64, wait: Duration) -> Option<NodeId> {
        let body = self.running()?;
        let me = self.shared.config.node_id.get();
        let mut changes = body.raft.server_metrics();
        let follow = async {
            loop {
                let vote = changes.borrow_watched().vote;
                if vote.committed && vote.leader_id.term > term && vote.leader_id.node_id != me {
                    return from_raft_node(vote.leader_id.node_id);
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
            | TransferError::Alone
            | TransferError::Timeout => ProposeError::NoLeader,
        }
    }
}
