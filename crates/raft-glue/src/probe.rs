//! Asking who leads, for many groups in one call to each peer.
//!
//! A start asks about every partition at about the same time, and so does a
//! drain; each question would be a message of its own. Questions to one peer
//! that come together therefore travel together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use openraft::metrics::RaftMetrics;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use partition_types::{Incarnation, LogId, Member, NodeId, PartitionId};
use tokio::sync::oneshot;

use crate::group::Group;
use crate::protocol::{Roll, Voice};
use crate::shared::Shared;
use crate::types::TypeConfig;
use crate::{PartitionHost, RaftReply, TransportError};

/// Questions that come within this time travel together.
const GATHER: Duration = Duration::from_millis(1);
/// Questions in one call.
const PROBES_MAX: usize = 1024;
/// Questions of one call that are answered at a time. Each of a group that is led here is a
/// question to its quorum, and clients' requests wait behind what was begun before them.
const ANSWERS: usize = 32;
/// A leader that cannot get its quorum's word in this time is answered for as
/// if it did not lead: the others in the call must not wait for it.
const ANSWER_WAIT: Duration = Duration::from_millis(300);

/// What a node says of one group at first hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderProbe {
    /// Which group.
    pub partition_id: PartitionId,
    /// What it is there.
    pub answer: ProbeAnswer,
}

/// What a replica says when it is asked for the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// It leads: a quorum said so after the question came.
    Leads {
        /// In this term.
        term: u64,
        /// A read must have applied the entry at this index.
        read_index: u64,
    },
    /// It leads as above, and its group has no such member as the one who asks; see
    /// [`protocol::Roll`](crate::protocol::Roll).
    Removed {
        /// In this term.
        term: u64,
        /// Where its members stand in its log; committed.
        at: LogId,
        /// A read must have applied the entry at this index.
        read_index: u64,
    },
    /// It does not lead; its node serves clients, and it could lead.
    Serves,
    /// It does not lead; its node is on its way up.
    Starts,
    /// It can not lead: it is bad, or its node goes down.
    Out,
}

impl ProbeAnswer {
    pub(crate) fn voice(self) -> Voice {
        match self {
            Self::Leads { .. } | Self::Removed { .. } => Voice::Leader,
            Self::Serves => Voice::Serving,
            Self::Starts => Voice::Starting,
            Self::Out => Voice::Out,
        }
    }
}

/// As leader: whether a member does not have all that this replica has.
pub(crate) fn lacks(metrics: &RaftMetrics<TypeConfig>, member: NodeId) -> bool {
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&member.get()));
    matched.is_some_and(|matched| matched.map(|id| id.index) < metrics.last_log_index)
}

/// Questions that wait to be sent, by whom they are for.
#[derive(Default)]
pub(crate) struct Prober {
    waiting: Mutex<HashMap<(NodeId, Incarnation), Vec<Asked>>>,
}

struct Asked {
    partition_id: PartitionId,
    answer: oneshot::Sender<Result<ProbeAnswer, TransportError>>,
}

impl PartitionHost {
    /// Answers the questions of a peer in one of its lives, a few at a time; groups that
    /// are not here are left out.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    pub async fn answer_probes(
        &self,
        from: NodeId,
        life: Incarnation,
        partition_ids: Vec<PartitionId>,
    ) -> Vec<LeaderProbe> {
        let groups = partition_ids.into_iter().filter_map(|id| self.shared.group(id));
        let answers = groups.map(|group| async move {
            LeaderProbe { partition_id: group.id, answer: group.answer_probe(from, life).await }
        });
        stream::iter(answers).buffer_unordered(ANSWERS).collect().await
    }
}

impl Group {
    async fn answer_probe(&self, from: NodeId, life: Incarnation) -> ProbeAnswer {
        match self.answer_read_index(ANSWER_WAIT).await {
            Ok(RaftReply::ReadIndex { read }) => {
                self.bring_up_to_date(from).await;
                let term = self.view().map_or(0, |view| view.term);
                let read_index = read.map_or(0, |id| id.index);
                match self.leaves_out(from, life) {
                    Some(at) => ProbeAnswer::Removed { term, at, read_index },
                    None => ProbeAnswer::Leads { term, read_index },
                }
            }
            Ok(_) => ProbeAnswer::Out,
            Err(refusal) => match Voice::of_refusal(refusal.reason) {
                Voice::Serving => ProbeAnswer::Serves,
                Voice::Starting => ProbeAnswer::Starts,
                _ => ProbeAnswer::Out,
            },
        }
    }

    /// As leader: sends a member what it lacks now, however long its node was away.
    async fn bring_up_to_date(&self, member: NodeId) {
        let Some(body) = self.running() else { return };
        let lacks_some = lacks(&body.raft.metrics().borrow_watched(), member);
        if lacks_some {
            // A group that is stopped brings nobody anything.
            let _ = body.raft.trigger().reset_backoff([member.get()]).await;
        }
    }

    /// Where it stands that a node, in this life, is no member. To be asked after a
    /// quorum confirmed the leadership, for the members to be no older than that.
    fn leaves_out(&self, node_id: NodeId, life: Incarnation) -> Option<LogId> {
        let (at, members) = self.members();
        let applied = self.store.as_ref()?.state().applied();
        let applied_next = applied.map_or(0, |id| id.index + 1);
        let known = members.members.get(&node_id);
        let has_asker = known.is_some_and(|member| member.incarnation == life);
        Roll { at, applied_next, is_joint: members.is_joint(), has_asker }.leaves_out()
    }

    /// Asks another replica for the leader, together with whatever else its node
    /// is asked now.
    pub(crate) async fn probe(
        &self,
        to: NodeId,
        wait: Duration,
    ) -> Result<ProbeAnswer, TransportError> {
        let member = self.member(to).ok_or_else(|| {
            TransportError::Unreachable(format!("node {to} is no member of the group"))
        })?;
        self.probe_member(to, member, wait).await
    }

    /// Likewise, one that need not be a member as far as this replica knows.
    pub(crate) async fn probe_member(
        &self,
        to: NodeId,
        member: Member,
        wait: Duration,
    ) -> Result<ProbeAnswer, TransportError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { partition_id: self.id, answer };
        if self.shared.prober.add(to, &member, asked) {
            let shared = Arc::clone(&self.shared);
            self.shared.tasks.spawn(async move { send(&shared, to, &member, wait).await });
        }
        let lost = || TransportError::Failed("the question was not sent".into());
        let answered = tokio::time::timeout(wait + GATHER, answered).await;
        answered.map_err(|_| TransportError::Timeout)?.map_err(|_| lost())?
    }
}

impl Prober {
    /// Whether it is the first one that waits: somebody has to send them.
    fn add(&self, to: NodeId, member: &Member, asked: Asked) -> bool {
        let mut waiting = self.waiting.lock();
        let queue = waiting.entry((to, member.incarnation)).or_default();
        queue.push(asked);
        queue.len() == 1
    }

    fn take(&self, to: NodeId, member: &Member) -> Vec<Asked> {
        self.waiting.lock().remove(&(to, member.incarnation)).unwrap_or_default()
    }
}

async fn send(shared: &Shared, to: NodeId, member: &Member, wait: Duration) {
    tokio::time::sleep(GATHER).await;
    let mut asked = shared.prober.take(to, member);
    let calls = std::iter::from_fn(|| {
        let rest = asked.len().saturating_sub(PROBES_MAX);
        let some = asked.split_off(rest);
        (!some.is_empty()).then_some(some)
    });
    join_all(calls.map(|asked| send_one(shared, to, member, asked, wait))).await;
}

async fn send_one(shared: &Shared, to: NodeId, member: &Member, asked: Vec<Asked>, wait: Duration) {
    let ids = asked.iter().map(|asked| asked.partition_id).collect();
    let call = shared.transport.probe_leaders(to, member, ids, wait);
    let answers = match tokio::time::timeout(wait, call).await {
        Ok(answers) => answers,
        Err(_) => Err(TransportError::Timeout),
    };
    let answers: Result<HashMap<_, _>, _> =
        answers.map(|all| all.into_iter().map(|one| (one.partition_id, one.answer)).collect());
    for Asked { partition_id, answer } in asked {
        // Who asked may be gone.
        let _ = answer.send(match &answers {
            // A replica that its node does not have yet is on its way up.
            Ok(all) => Ok(all.get(&partition_id).copied().unwrap_or(ProbeAnswer::Starts)),
            Err(error) => Err(error.clone()),
        });
    }
}
