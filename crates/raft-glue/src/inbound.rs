//! Messages from the groups of other nodes.
//!
//! A message never makes a replica: that takes a create, which knows for which
//! incarnation it is meant.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::errors::Fatal;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use partition_types::{LogId, NodeId, PartitionId, Reason, Vote};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

use crate::body::Body;
use crate::contact::Word;
use crate::convert::{
    from_raft_log_id, from_raft_vote, to_raft_entry, to_raft_log_id, to_raft_stored_membership,
    to_raft_vote,
};
use crate::fence::Path;
use crate::group::Group;
use crate::protocol::{self, Answer, Cause, Standing};
use crate::state_machine::SnapshotData;
use crate::types::{RaftSnapshot, RaftSnapshotMeta, TypeConfig};
use crate::{AppendReply, PartitionHost, RaftReply, RaftRequest, Refusal, SnapshotHeader};

impl PartitionHost {
    /// Takes a message of node `from` for a group.
    ///
    /// # Errors
    /// [`Refusal`] when the replica is not here, not able to, or not meant.
    ///
    /// # Cancel safety
    /// The message may have been taken.
    pub async fn handle(
        &self,
        from: NodeId,
        id: PartitionId,
        request: RaftRequest,
    ) -> Result<RaftReply, Refusal> {
        let answering = self.shared.metrics.answering(&request);
        let reply = self.answer(from, id, request).await;
        answering.ends(reply.is_ok());
        reply
    }

    async fn answer(
        &self,
        from: NodeId,
        id: PartitionId,
        request: RaftRequest,
    ) -> Result<RaftReply, Refusal> {
        if !self.shared.leads.is_serving() {
            self.shared.wanted.heard(id, &request);
        }
        let group = self.receiver(id)?;
        if group.is_stopped() || group.store.is_none() {
            return Err(out_of_service(&group));
        }
        match request {
            RaftRequest::Append { vote, prev, entries, committed } => {
                sent_by(from, vote)?;
                group.takes_message()?;
                let came = Instant::now();
                let body = group.needed().await?;
                group.wake();
                let rpc = AppendEntriesRequest {
                    vote: to_raft_vote(vote),
                    prev_log_id: prev.map(to_raft_log_id),
                    entries: entries
                        .into_iter()
                        .map(to_raft_entry)
                        .collect::<io::Result<_>>()
                        .map_err(|error| invalid(error.to_string()))?,
                    leader_commit: committed.map(to_raft_log_id),
                };
                let reply =
                    body.raft.append_entries(rpc).await.map_err(|error| stopped(&group, &error))?;
                if !matches!(reply, AppendEntriesResponse::HigherVote(_)) {
                    group.heard_leader(from, vote, committed, came);
                }
                Ok(RaftReply::Append(append_reply(&reply)))
            }
            RaftRequest::Vote { vote, last, leadership_transfer, leader_gone } => {
                sent_by(from, vote)?;
                group.may_vote()?;
                group.note_candidate(from, last);
                let body = group.needed().await?;
                let mut rpc = VoteRequest::new(to_raft_vote(vote), last.map(to_raft_log_id));
                // The same to openraft: the leader's lease does not count.
                let is_lost = leader_gone && group.has_lost_leader(Some(from));
                rpc.leadership_transfer = leadership_transfer || is_lost;
                let reply = body.raft.vote(rpc).await.map_err(|error| stopped(&group, &error))?;
                Ok(vote_reply(&reply))
            }
            RaftRequest::PreVote { vote, last, leader_gone } => {
                sent_by(from, vote)?;
                group.may_vote()?;
                if leader_gone && group.is_deposed_word(from, vote) {
                    return Ok(group.refuse(vote));
                }
                group.note_candidate(from, last);
                if leader_gone && group.has_lost_leader(Some(from)) {
                    return Ok(group.would_succeed(vote, last));
                }
                if !group.hears_out_pre_vote() {
                    return Ok(group.refuse(vote));
                }
                let body = group.needed().await?;
                let rpc = VoteRequest::new(to_raft_vote(vote), last.map(to_raft_log_id));
                let reply =
                    body.raft.pre_vote(rpc).await.map_err(|error| stopped(&group, &error))?;
                Ok(vote_reply(&reply))
            }
            RaftRequest::Transfer { from: vote, to, last } => {
                sent_by(from, vote)?;
                let body = group.needed().await?;
                group.wake();
                let rpc = TransferLeaderRequest::new(
                    to_raft_vote(vote),
                    to.get(),
                    last.map(to_raft_log_id),
                );
                group.take_over(&body, to, rpc).await
            }
            RaftRequest::ReadIndex => {
                group.is_sought();
                if group.view().is_some_and(|view| view.leads()) {
                    group.is_active();
                }
                group.answer_read_index(group.settle_time()).await
            }
        }
    }

    /// Takes a snapshot of node `from` and installs it. It is discarded whole
    /// if anything of it is missing or wrong.
    ///
    /// # Errors
    /// [`Refusal`]; [`Reason::Overloaded`] when too many are under way.
    ///
    /// # Cancel safety
    /// Dropping the future before all chunks came discards them.
    pub async fn receive_snapshot<S>(
        &self,
        from: NodeId,
        header: SnapshotHeader,
        mut chunks: S,
    ) -> Result<Vote, Refusal>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let group = self.receiver(header.partition_id)?;
        sent_by(from, header.vote)?;
        group.takes_message()?;
        let came = Instant::now();
        let body = group.needed().await?;
        let beyond =
            (header.last.term, header.last.leader) > (header.vote.term, header.vote.voted_for);
        if beyond {
            return Err(invalid("the snapshot is of a later leader than its sender".into()));
        }
        if let Some(view) = group.view()
            && (view.term, view.voted_for) > (header.vote.term, header.vote.voted_for)
        {
            let mine = Vote { term: view.term, voted_for: view.voted_for, committed: false };
            return Ok(mine);
        }
        let busy = || refusal(Reason::Overloaded, "receives a snapshot already".into());
        let _one = group.receiving.try_lock().map_err(|_| busy())?;
        let _some = self.shared.receiving.try_acquire().map_err(|_| busy())?;

        let broken = |error: io::Error| refusal(Reason::Internal, error.to_string());
        let mut sink = body.store.state().begin_install().await.map_err(broken)?;
        while let Some(chunk) = chunks.next().await {
            sink.write(chunk.map_err(broken)?).await.map_err(broken)?;
        }
        let staged = sink.finish().await.map_err(broken)?;
        let membership = to_raft_stored_membership(header.membership_log_id, &header.membership)
            .map_err(|error| invalid(error.to_string()))?;
        let snapshot = RaftSnapshot {
            meta: RaftSnapshotMeta {
                last_log_id: Some(to_raft_log_id(header.last)),
                last_membership: membership,
            },
            snapshot: SnapshotData::Staged(Box::new(staged)),
        };
        let vote = to_raft_vote(header.vote);
        let reply = body
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(|error| fatal(&group, &error))?;
        group.heard_leader(from, header.vote, Some(header.last), came);
        Ok(from_raft_vote(reply.vote))
    }

    fn receiver(&self, id: PartitionId) -> Result<Arc<Group>, Refusal> {
        if let Some(group) = self.shared.group(id) {
            return Ok(group);
        }
        // In the manifest and not in the list: its turn to be loaded comes.
        if self.shared.store.has(id) && !self.shared.cancel.is_cancelled() {
            return Err(refusal(Reason::Starting, format!("partition {id} is being loaded")));
        }
        Err(refusal(Reason::PartitionNotFound, format!("partition {id} is not here")))
    }
}

impl Group {
    /// What answers for the group; it is brought into memory where it is not.
    async fn needed(self: &Arc<Self>) -> Result<Arc<Body>, Refusal> {
        self.activate(Cause::Peer).await.map_err(|_| out_of_service(self))
    }

    /// Counts a leader's message; one that is being deleted takes none.
    fn takes_message(&self) -> Result<(), Refusal> {
        if self.hold.take_message() {
            return Ok(());
        }
        let id = self.id;
        Err(refusal(Reason::PartitionNotFound, format!("partition {id} is being deleted")))
    }

    /// A replica that joins a living group has no voice before it was told anything, and
    /// one that joins where another was deleted, not before it has all that that one had.
    ///
    /// It may stand where a member was removed that a voter left behind still counts on;
    /// that member had what the group acknowledged, and this one does not. What the
    /// deleted one had promised is in the manifest: with its vote kept, and silent until
    /// it has its log, this one is that voter, come back. A node that lost its memory of
    /// it has another incarnation, and nobody takes it for the member.
    fn may_vote(&self) -> Result<(), Refusal> {
        let has_log = self.store.as_ref().is_some_and(|store| store.log().bounds().last.is_some());
        if (has_log || !self.created_with.is_empty()) && !self.fence.is_owing() {
            return Ok(());
        }
        let message = format!("partition {} was not told enough by its group yet", self.id);
        Err(refusal(Reason::Starting, message))
    }

    fn heard_leader(&self, from: NodeId, vote: Vote, committed: Option<LogId>, came: Instant) {
        self.wake();
        self.note_leader(from, vote.term, committed, came);
    }

    /// Takes the word of who leads, which came then.
    pub(crate) fn note_leader(
        &self,
        from: NodeId,
        term: u64,
        committed: Option<LogId>,
        came: Instant,
    ) {
        match self.contact.heard(from, term, committed, came) {
            Some(Word::First) => drop(self.shared.routes.send(self.id)),
            Some(Word::Again) => {}
            None => return,
        }
        // In this order: whoever takes the leader for gone looks whether he was heard of.
        self.leader_gone.store(false, Ordering::Release);
        self.me().is_led();
    }

    /// Whether openraft is to judge a pre-vote. A leader that sleeps lets the
    /// others hear of it instead.
    fn hears_out_pre_vote(&self) -> bool {
        if protocol::hears_out_pre_vote(self.is_drowsy(), self.leader().is_some()) {
            self.wake();
            return true;
        }
        if self.view().is_some_and(|view| view.leads()) {
            self.wake();
        }
        false
    }

    async fn take_over(
        &self,
        body: &Body,
        to: NodeId,
        rpc: TransferLeaderRequest<TypeConfig>,
    ) -> Result<RaftReply, Refusal> {
        let answer =
            |accepted, reason: String, vote| RaftReply::Transfer { accepted, reason, vote };
        let takes_over = || {
            let serving = self.shared.leads.is_serving();
            // The first counts what a fenced replica is asked.
            self.fence.pass(Path::Transfer) && protocol::may_take_over(self.fence.state(), serving)
        };
        if to == self.shared.config.node_id && !takes_over() {
            return Ok(answer(false, "this replica may not lead".into(), None));
        }
        let taken = body.raft.handle_transfer_leader(rpc).await;
        Ok(match taken.map_err(|error| fatal(self, &error))? {
            Ok(()) => answer(true, String::new(), None),
            Err(error) => {
                let vote = match &error {
                    TransferLeaderError::VoteChanged { actual, .. } => {
                        Some(from_raft_vote(*actual))
                    }
                    TransferLeaderError::LogNotFlushed { .. } => None,
                };
                answer(false, error.to_string(), vote)
            }
        })
    }

    /// Besides the answer of a leader, this tells who could become one: a
    /// follower whose node serves says `NOT_LEADER` or `NO_LEADER`.
    pub(crate) async fn answer_read_index(&self, wait: Duration) -> Result<RaftReply, Refusal> {
        let leads = self.cause().is_none() && self.view().is_some_and(|view| view.leads());
        let read = match leads {
            true => self.lead_read_index(wait).await.ok(),
            false => None,
        };
        let cause = self.cause();
        let leader = self.leader();
        let standing = Standing {
            leads: read.is_some(),
            draining: self.shared.is_draining(),
            serving: self.shared.leads.is_serving(),
            fence: protocol::Fence { quarantined: cause.is_some(), ..self.fence.state() },
            knows_leader: leader.is_some(),
            lags: self.is_behind(),
        };
        let answer = standing.answer();
        let Some(reason) = answer.reason() else {
            return Ok(RaftReply::ReadIndex { read: read.flatten() });
        };
        let message = match (answer, leader) {
            (Answer::Quarantined, _) => cause.unwrap_or_default(),
            (Answer::Draining, _) => "the node is draining".into(),
            (Answer::Starting, Some(_)) if standing.serving => "the replica is catching up".into(),
            (Answer::Starting, _) => "the node is starting".into(),
            (_, Some(leader)) => format!("node {leader} leads"),
            (_, None) => "no leader is known".into(),
        };
        Err(refusal(reason, message))
    }
}

/// A vote speaks for the node that sends it.
fn sent_by(from: NodeId, vote: Vote) -> Result<(), Refusal> {
    if vote.voted_for == Some(from) {
        return Ok(());
    }
    Err(invalid(format!("node {from} sent another node's vote")))
}

fn append_reply(reply: &AppendEntriesResponse<TypeConfig>) -> AppendReply {
    match *reply {
        AppendEntriesResponse::Success => AppendReply::Success,
        AppendEntriesResponse::PartialSuccess(last) => {
            AppendReply::Partial(last.map(from_raft_log_id))
        }
        AppendEntriesResponse::Conflict => AppendReply::Conflict,
        AppendEntriesResponse::HigherVote(vote) => AppendReply::HigherVote(from_raft_vote(vote)),
    }
}

fn vote_reply(reply: &VoteResponse<TypeConfig>) -> RaftReply {
    RaftReply::Vote {
        vote: from_raft_vote(reply.vote),
        granted: reply.vote_granted,
        last: reply.last_log_id.map(from_raft_log_id),
    }
}

fn refusal(reason: Reason, message: String) -> Refusal {
    Refusal { reason, message }
}

fn invalid(message: String) -> Refusal {
    refusal(Reason::InvalidRequest, message)
}

fn out_of_service(group: &Group) -> Refusal {
    match group.cause() {
        Some(cause) => refusal(Reason::Quarantined, cause),
        None => refusal(Reason::Draining, "the group is stopped".into()),
    }
}

fn stopped<E: std::error::Error>(group: &Group, error: &E) -> Refusal {
    tracing::debug!(partition_id = %group.id, %error, "message to a stopped group");
    out_of_service(group)
}

fn fatal(group: &Group, error: &Fatal<TypeConfig>) -> Refusal {
    stopped(group, error)
}
