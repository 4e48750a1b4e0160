//! Changing who is in a group.
//!
//! In steps that are each safe to repeat: out with nodes that live in another
//! incarnation than the group knows, in with new ones as learners, wait until
//! they have caught up, joint consensus to the new voters, out with the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::type_config::async_runtime::watch::WatchReceiver;
use partition_types::{Member, NodeId};
use tokio::time::Instant;

use crate::body::Body;
use crate::group::Group;
use crate::types::{GroupMember, TypeConfig};
use crate::{MembershipError, Partition, ProposeError, transfer};

/// How long a new replica is given to catch up in one call.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
const CATCH_UP_POLL: Duration = Duration::from_millis(50);
/// A learner that lacks no more entries than this is made a voter.
const LAG_MAX: u64 = 64;

type Change = ChangeMembers<u64, GroupMember>;

impl Partition {
    /// Sets the voters and learners. A new voter is a learner until it has
    /// caught up; a node in another incarnation than the group knows is removed
    /// first, for it is another replica.
    ///
    /// # Errors
    /// [`MembershipError`]; the change may be done in part, and the same call again
    /// goes on with it. A leader that is to leave hands over first and
    /// answers with [`ProposeError::NotLeader`].
    ///
    /// # Cancel safety
    /// The change may be done in part.
    pub async fn change_membership(
        &self,
        voters: BTreeMap<NodeId, Member>,
        learners: BTreeMap<NodeId, Member>,
    ) -> Result<(), MembershipError> {
        let group = &self.group;
        group.sound()?;
        group.seek().await;
        let wanted = Wanted::new(voters, learners)?;
        if !group.view().is_some_and(|view| view.leads()) {
            return Err(group.not_leader().into());
        }
        let me = group.shared.config.node_id;
        let heir = group.membership().voters().iter().any(|id| wanted.voters.contains(id));
        if !wanted.voters.contains(&me) && heir {
            let given = transfer::give_away(group, None).await;
            let heir = given.map_err(|error| MembershipError::Propose(error.into()))?;
            return Err(ProposeError::NotLeader {
                leader: group.member(heir).map(|member| (heir, member)),
                term: group.view().map_or(0, |view| view.term),
            }
            .into());
        }
        let _turn = group.changing.lock().await;
        group.change_membership(&wanted).await
    }
}

/// A valid target.
struct Wanted {
    voters: BTreeSet<NodeId>,
    members: BTreeMap<NodeId, Member>,
}

impl Wanted {
    fn new(
        voters: BTreeMap<NodeId, Member>,
        learners: BTreeMap<NodeId, Member>,
    ) -> Result<Self, MembershipError> {
        if voters.is_empty() {
            return Err(MembershipError::Invalid("there would be no voter".into()));
        }
        if let Some(both) = voters.keys().find(|id| learners.contains_key(id)) {
            return Err(MembershipError::Invalid(format!("node {both} would be both")));
        }
        let ids = voters.keys().copied().collect();
        Ok(Self { voters: ids, members: voters.into_iter().chain(learners).collect() })
    }
}

impl Group {
    async fn change_membership(&self, wanted: &Wanted) -> Result<(), MembershipError> {
        let body = self.healthy()?;
        self.wake_to_lead().await;
        self.drop_former_lives(&body, wanted).await?;

        let known = self.membership();
        let added = collect(wanted, |id, member| known.members.get(id) != Some(member));
        if !added.is_empty() {
            // Same incarnation, or it would have been removed: at most the
            // addresses change, and they are hints.
            self.commit(&body, ChangeMembers::SetNodes(added), true).await?;
        }
        let joining: Vec<_> =
            wanted.voters.iter().filter(|id| !known.voters().contains(id)).copied().collect();
        self.await_caught_up(&body, &joining).await?;

        let known = self.membership();
        if known.is_joint() || known.voters() != wanted.voters {
            let voters = wanted.voters.iter().map(|id| id.get()).collect();
            self.commit(&body, ChangeMembers::ReplaceAllVoters(voters), true).await?;
        }
        let leaving: BTreeSet<_> = self
            .membership()
            .learners()
            .filter(|id| !wanted.members.contains_key(id))
            .map(NodeId::get)
            .collect();
        if !leaving.is_empty() {
            self.commit(&body, ChangeMembers::RemoveNodes(leaving), false).await?;
        }
        Ok(())
    }

    /// Removes nodes that are wanted in another incarnation than the group has.
    async fn drop_former_lives(&self, body: &Body, wanted: &Wanted) -> Result<(), MembershipError> {
        let known = self.membership();
        let former: BTreeSet<_> = wanted
            .members
            .iter()
            .filter(|(id, member)| {
                let known = known.members.get(id);
                known.is_some_and(|known| known.incarnation != member.incarnation)
            })
            .map(|(id, _)| *id)
            .collect();
        if former.is_empty() {
            return Ok(());
        }
        let left: BTreeSet<_> = known.voters().difference(&former).map(|id| id.get()).collect();
        if left.is_empty() {
            let problem = "every voter would be replaced at once".into();
            return Err(MembershipError::Invalid(problem));
        }
        self.commit(body, ChangeMembers::ReplaceAllVoters(left), true).await?;
        let former = former.into_iter().map(NodeId::get).collect();
        self.commit(body, ChangeMembers::RemoveNodes(former), false).await
    }

    async fn commit(
        &self,
        body: &Body,
        change: Change,
        retain: bool,
    ) -> Result<(), MembershipError> {
        match body.raft.change_membership(change, retain).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(error)) => Err(self.refused(error)),
            Err(RaftError::Fatal(_)) => Err(ProposeError::OutcomeUnknown.into()),
        }
    }

    fn refused(&self, error: ClientWriteError<TypeConfig>) -> MembershipError {
        match error {
            ClientWriteError::ForwardToLeader(_) => self.not_leader().into(),
            ClientWriteError::LogEntryDiscarded(_) => ProposeError::OutcomeUnknown.into(),
            ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UncommittedLeaderLog(_),
            )
            | ClientWriteError::PreconditionFailed(_) => MembershipError::InProgress,
            ClientWriteError::ChangeMembershipError(error) => {
                MembershipError::Invalid(error.to_string())
            }
        }
    }

    async fn await_caught_up(
        &self,
        body: &Body,
        joining: &[NodeId],
    ) -> Result<(), MembershipError> {
        let give_up = Instant::now() + CATCH_UP_MAX;
        for id in joining {
            loop {
                let lag = lag(body, *id).ok_or_else(|| self.not_leader())?;
                if lag <= LAG_MAX {
                    break;
                }
                if Instant::now() >= give_up {
                    return Err(MembershipError::LearnerLags(*id));
                }
                tokio::time::sleep(CATCH_UP_POLL).await;
            }
        }
        Ok(())
    }
}

/// Entries that a member is not known to have; `None` when this replica does
/// not lead.
fn lag(body: &Body, id: NodeId) -> Option<u64> {
    let metrics = body.raft.metrics();
    let metrics = metrics.borrow_watched();
    let replication = metrics.replication.as_ref()?;
    let matched = replication.get(&id.get()).copied().flatten();
    let last_next = metrics.last_log_index.map_or(0, |index| index + 1);
    // Nothing at all is not caught up, however short the log is.
    Some(matched.map_or(u64::MAX, |id| last_next.saturating_sub(id.index + 1)))
}

fn collect(
    wanted: &Wanted,
    mut keep: impl FnMut(&NodeId, &Member) -> bool,
) -> BTreeMap<u64, GroupMember> {
    wanted
        .members
        .iter()
        .filter(|(id, member)| keep(id, member))
        .map(|(id, member)| (id.get(), GroupMember(member.clone())))
        .collect()
}
