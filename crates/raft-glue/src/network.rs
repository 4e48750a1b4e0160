//! openraft's network on a [`Transport`].
//!
//! One message at a time goes to a follower, so nothing is ever overtaken; what
//! makes it fast is that a message takes everything that waits, up to about
//! 1 MiB.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::Either;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use partition_store::SnapshotSource;
use partition_types::{Member, NodeId, PartitionId, Reason, Vote};

use crate::convert::{
    from_raft_log_id, from_raft_node, from_raft_vote, to_raft_log_id, to_raft_vote,
};
use crate::fence::{Fence, Path};
use crate::log_store::LogStore;
use crate::state_machine::SnapshotData;
use crate::types::{GroupMember, RaftSnapshot, RaftVote, TypeConfig};
use crate::{RaftReply, RaftRequest, SnapshotHeader, Transport, TransportError};

/// The first wait after a member was not reached.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest wait where there is no connection: thousands of groups would be busy
/// with nothing else than a member that is away.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// Makes the links of one group.
pub(crate) struct Network {
    pub(crate) node_id: NodeId,
    pub(crate) partition_id: PartitionId,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) log: LogStore,
    pub(crate) fence: Arc<Fence>,
    /// Whether the last leader's process is gone.
    pub(crate) leader_gone: Arc<AtomicBool>,
    /// For messages that carry entries: longer than a heartbeat's, because the
    /// follower answers after its disk.
    pub(crate) append_timeout: Duration,
    /// Longest wait before a member that is connected is tried again. One that is not
    /// is tried again when it comes back, or after [`AWAY_MAX`].
    pub(crate) backoff_max: Duration,
}

/// One group's way to one member.
pub(crate) struct Link {
    from: NodeId,
    /// `None` for an id that no member can have: it is never reached.
    to: Option<NodeId>,
    member: Member,
    pub(crate) partition_id: PartitionId,
    transport: Arc<dyn Transport>,
    pub(crate) log: LogStore,
    /// Whether the member turned out to lack entries of earlier leaders.
    pub(crate) lacks_earlier: bool,
    fence: Arc<Fence>,
    leader_gone: Arc<AtomicBool>,
    pub(crate) append_timeout: Duration,
    backoff_max: Duration,
    /// Whether the last message found no connection.
    is_away: Arc<AtomicBool>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &GroupMember) -> Link {
        Link {
            from: self.node_id,
            to: from_raft_node(target),
            member: node.0.clone(),
            partition_id: self.partition_id,
            transport: Arc::clone(&self.transport),
            log: self.log.clone(),
            lacks_earlier: false,
            fence: Arc::clone(&self.fence),
            leader_gone: Arc::clone(&self.leader_gone),
            append_timeout: self.append_timeout,
            backoff_max: self.backoff_max,
            is_away: Arc::default(),
        }
    }
}

impl Link {
    pub(crate) async fn call(
        &self,
        request: RaftRequest,
        action: RPCTypes,
        timeout: Duration,
    ) -> Result<RaftReply, RPCError<TypeConfig>> {
        let Some(to) = self.to else { return Err(unreachable_error("no such node")) };
        let call = self.transport.call(to, &self.member, self.partition_id, request, timeout);
        // The transport keeps the time too; this is for the one that does not.
        let answer = tokio::time::timeout(timeout, call).await;
        let answer = answer.unwrap_or(Err(TransportError::Timeout));
        let is_away = matches!(answer, Err(TransportError::Unreachable(_)));
        self.is_away.store(is_away, Ordering::Release);
        answer.map_err(|error| self.failed(error, action, timeout))
    }

    /// `Unreachable` makes openraft back off, the others let it try again soon.
    fn failed(
        &self,
        error: TransportError,
        action: RPCTypes,
        timeout: Duration,
    ) -> RPCError<TypeConfig> {
        match error {
            TransportError::Timeout => RPCError::Timeout(Timeout {
                action,
                id: self.from.get(),
                target: self.to.map_or(0, NodeId::get),
                timeout,
            }),
            TransportError::Failed(what) => RPCError::Network(NetworkError::from_string(what)),
            TransportError::Unreachable(what) => unreachable_error(what),
            TransportError::Refused(refusal) => unreachable_error(refusal.to_string()),
        }
    }

    async fn ask_for_vote(
        &self,
        path: Path,
        request: RaftRequest,
        timeout: Duration,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.fenced(path)?;
        match self.call(request, RPCTypes::Vote, timeout).await? {
            RaftReply::Vote { vote, granted, last } => {
                // A drain or a quarantine may have begun meanwhile: openraft goes
                // on with a campaign that has begun, and must not win it.
                if granted {
                    self.fenced(path)?;
                }
                Ok(VoteResponse {
                    vote: to_raft_vote(vote),
                    vote_granted: granted,
                    last_log_id: last.map(to_raft_log_id),
                })
            }
            other => Err(wrong_reply(&other)),
        }
    }

    fn fenced(&self, path: Path) -> Result<(), RPCError<TypeConfig>> {
        if self.fence.pass(path) {
            return Ok(());
        }
        tracing::warn!(partition_id = %self.partition_id, ?path, "held back an election");
        Err(unreachable_error("this replica may not campaign"))
    }
}

pub(crate) fn unreachable_error(what: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(what))
}

pub(crate) fn wrong_reply(reply: &RaftReply) -> RPCError<TypeConfig> {
    unreachable_error(format!("answer of another kind: {reply:?}"))
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.append(rpc, option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = RaftRequest::Vote {
            vote: from_raft_vote(rpc.vote),
            last: rpc.last_log_id.map(from_raft_log_id),
            leadership_transfer: rpc.leadership_transfer,
            leader_gone: self.leader_gone.load(Ordering::Acquire),
        };
        self.ask_for_vote(Path::Vote, request, option.hard_ttl()).await
    }

    /// openraft's own default would *grant*.
    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = RaftRequest::PreVote {
            vote: from_raft_vote(rpc.vote),
            last: rpc.last_log_id.map(from_raft_log_id),
            leader_gone: self.leader_gone.load(Ordering::Acquire),
        };
        self.ask_for_vote(Path::PreVote, request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Lazy(source) = snapshot.snapshot else {
            return Err(ReplicationClosed::new("a staged snapshot is not sent").into());
        };
        let send = std::pin::pin!(self.stream_snapshot(from_raft_vote(vote), source));
        let cancel = std::pin::pin!(cancel);
        match futures::future::select(send, cancel).await {
            Either::Left((sent, _)) => sent.map(|vote| SnapshotResponse::new(to_raft_vote(vote))),
            Either::Right((closed, _)) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let Some(to) = from_raft_node(*rpc.to_node_id()) else {
            return Err(unreachable_error("no such node"));
        };
        let request = RaftRequest::Transfer {
            from: from_raft_vote(*rpc.from_leader()),
            to,
            last: rpc.last_log_id().copied().map(from_raft_log_id),
        };
        match self.call(request, RPCTypes::TransferLeader, option.hard_ttl()).await? {
            RaftReply::Transfer { accepted: true, .. } => Ok(Ok(())),
            RaftReply::Transfer { vote: Some(actual), .. } => {
                Ok(Err(TransferLeaderError::VoteChanged {
                    expected: *rpc.from_leader(),
                    actual: to_raft_vote(actual),
                }))
            }
            RaftReply::Transfer { reason, .. } => Err(unreachable_error(reason)),
            other => Err(wrong_reply(&other)),
        }
    }

    /// Doubles; a peer that is back resets it.
    fn backoff(&self) -> Option<Backoff> {
        let (max, is_away) = (self.backoff_max, Arc::clone(&self.is_away));
        let mut next = BACKOFF_MIN;
        let waits = std::iter::repeat_with(move || {
            let max = if is_away.load(Ordering::Acquire) { AWAY_MAX } else { max };
            let wait = next.min(max);
            next = wait * 2;
            wait
        });
        Some(Backoff::new(waits))
    }
}

impl Link {
    /// Opens the consistent view now, and announces what *it* covers.
    async fn stream_snapshot(
        &self,
        vote: Vote,
        source: SnapshotSource,
    ) -> Result<Vote, StreamingError<TypeConfig>> {
        let Some(to) = self.to else {
            return Err(Unreachable::from_string("no such node").into());
        };
        // A replica that cannot read its own state cannot repair others; it is
        // quarantined by its own reads, not by a peer's need.
        let reader = source.open().await.map_err(|error| {
            tracing::error!(partition_id = %self.partition_id, %error, "open snapshot failed");
            StreamingError::from(Unreachable::from_string(error))
        })?;
        // The state may have moved on under a later leader since this leader was
        // deposed; a snapshot never holds an entry beyond its leader's vote.
        let beyond = (reader.last.term, reader.last.leader) > (vote.term, vote.voted_for);
        if beyond {
            return Err(ReplicationClosed::new("deposed while the snapshot was opened").into());
        }
        let header = SnapshotHeader {
            partition_id: self.partition_id,
            vote,
            last: reader.last,
            membership: reader.membership.clone(),
            membership_log_id: reader.membership_log_id,
        };
        let chunks = futures::stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next_chunk().await?.map(|chunk| (chunk, reader)))
        });
        let sent = self.transport.send_snapshot(to, &self.member, header, chunks.boxed()).await;
        sent.map_err(|error| match error {
            // The receiver is busy with one already, or restarts: soon again.
            TransportError::Refused(refusal) if refusal.reason == Reason::Overloaded => {
                NetworkError::from_string(refusal).into()
            }
            error => match self.failed(error, RPCTypes::InstallSnapshot, Duration::ZERO) {
                RPCError::Timeout(error) => error.into(),
                RPCError::Network(error) => error.into(),
                RPCError::Unreachable(error) => error.into(),
                RPCError::RemoteError(error) => match error.source {},
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::metric::Metrics;
    use crate::testing::{Peer, log_of, member, open_partition};

    /// Path 6, the last line: what came through every other path stays here.
    #[tokio::test]
    async fn no_vote_request_of_a_fenced_replica_leaves() {
        let suppressed = Metrics::new().suppressed;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let peer = Peer(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Err(TransportError::Timeout)
        });
        let dir = tempfile::tempdir().expect("make a directory");
        let (_store, partition) = open_partition(dir.path());
        let mut link = Link {
            from: NodeId::new(1).expect("above 0"),
            to: NodeId::new(2).ok(),
            member: member(),
            partition_id: PartitionId::new(7).expect("above 0"),
            transport: Arc::new(peer),
            log: log_of(&partition),
            lacks_earlier: false,
            fence: Arc::new(Fence::new(suppressed.clone())),
            leader_gone: Arc::default(),
            append_timeout: Duration::from_secs(1),
            backoff_max: Duration::from_secs(1),
            is_away: Arc::default(),
        };
        let vote = Vote { term: 3, voted_for: NodeId::new(1).ok(), committed: false };
        let rpc = || VoteRequest::<TypeConfig>::new(to_raft_vote(vote), None);
        let option = || RPCOption::new(Duration::from_secs(1));
        link.vote(rpc(), option()).await.expect_err("it is fenced");
        link.pre_vote(rpc(), option()).await.expect_err("it is fenced");
        assert_eq!(sent.load(Ordering::Relaxed), 0, "it left");
        assert_eq!((suppressed.count(Path::Vote), suppressed.count(Path::PreVote)), (1, 1));
    }
}
