//! What the groups need of the network, in the words of partition-types.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use partition_types::{Entry, LogId, Member, Membership, NodeId, PartitionId, Reason, Vote};

use crate::LeaderProbe;

/// Carries messages between the groups of different nodes.
///
/// Messages may be lost, late, repeated and overtaken; they must not be changed. A call
/// to a member whose node lives in another incarnation than
/// [`Member::incarnation`] must fail: that node is not the member.
pub trait Transport: Send + Sync + 'static {
    /// Sends one message and waits for its answer, for at most `timeout`.
    ///
    /// # Errors
    /// [`TransportError`].
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer; the message may still arrive.
    fn call(
        &self,
        to: NodeId,
        member: &Member,
        partition_id: PartitionId,
        request: RaftRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<RaftReply, TransportError>>;

    /// Asks a node for the leaders of many groups in one call, for at most
    /// `timeout`. The answers come in any order; groups that the node has no
    /// replica of, or not yet, are missing. The receiver answers by
    /// [`PartitionHost::answer_probes`](crate::PartitionHost::answer_probes), and is
    /// told from which life of which node the question comes.
    ///
    /// # Errors
    /// [`TransportError`].
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    fn probe_leaders(
        &self,
        to: NodeId,
        member: &Member,
        partition_ids: Vec<PartitionId>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<LeaderProbe>, TransportError>>;

    /// Nodes that are said to have replicas of a group by now, whatever its replica
    /// here knows: a hint whom to ask.
    fn told_members(&self, partition_id: PartitionId) -> Vec<(NodeId, Member)> {
        let _ = partition_id;
        Vec::new()
    }

    /// Tells a node which groups that this one leads sleep there, and which are
    /// to, in one call for all of them, for at most `timeout`. The receiver answers by
    /// [`PartitionHost::sleep`](crate::PartitionHost::sleep). Where it cannot be
    /// carried, which is the default, no group ever sleeps.
    ///
    /// # Errors
    /// [`TransportError`].
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer; the call may still arrive.
    fn sleep(
        &self,
        _to: NodeId,
        _member: &Member,
        _call: SleepCall,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<SleepReply, TransportError>> {
        let none = TransportError::Failed("sleep is not carried".into());
        Box::pin(std::future::ready(Err(none)))
    }

    /// Streams a snapshot and waits until it is installed. Takes as long as
    /// the data does; the caller drops the future to stop it.
    ///
    /// # Errors
    /// [`TransportError`]; also when a chunk could not be read.
    ///
    /// # Cancel safety
    /// Dropping the future ends the stream; the receiver discards what came.
    fn send_snapshot(
        &self,
        to: NodeId,
        member: &Member,
        header: SnapshotHeader,
        chunks: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> BoxFuture<'static, Result<Vote, TransportError>>;
}

/// What a node says to a peer of the groups that it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SleepCall {
    /// The sender's process: another number after each start.
    pub life: u64,
    /// How many groups sleep on both sides, by what the sender knows.
    pub count: u64,
    /// The sum of their marks, modulo 2^64.
    pub sum: u64,
    /// Those that are to fall asleep now. None: a beat.
    pub groups: Vec<SleepingGroup>,
}

/// A group that is to fall asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SleepingGroup {
    /// Which one.
    pub partition_id: PartitionId,
    /// In which term the sender leads it.
    pub term: u64,
    /// The last entry of its log, which is committed.
    pub last: Option<LogId>,
}

/// The answer to a [`SleepCall`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SleepReply {
    /// Those of its groups that sleep here now.
    pub agreed: Vec<PartitionId>,
    /// Whether the same groups slept here when it came.
    pub same: bool,
    /// Not everything is loaded here yet: what did not agree may agree later.
    pub starting: bool,
}

/// A message to a replica.
#[derive(Debug, Clone, PartialEq)]
pub enum RaftRequest {
    /// Replicates entries; a heartbeat when there are none.
    Append {
        /// The leader's vote.
        vote: Vote,
        /// The entry before the first one.
        prev: Option<LogId>,
        /// Consecutive entries.
        entries: Vec<Entry>,
        /// The leader's commit index.
        committed: Option<LogId>,
    },
    /// Asks for a vote.
    Vote {
        /// The candidate's own vote.
        vote: Vote,
        /// The candidate's last entry.
        last: Option<LogId>,
        /// The leader itself asked the candidate to take over, so that its
        /// lease does not count.
        leadership_transfer: bool,
        /// The process of the last leader is gone: its lease does not count
        /// where the voter lost it too.
        leader_gone: bool,
    },
    /// Asks whether a vote would be given; changes nothing. By the receiver's own leader, for
    /// the term in which it led and with `leader_gone`: it does not lead any more.
    PreVote {
        /// The vote that would be asked for.
        vote: Vote,
        /// The candidate's last entry.
        last: Option<LogId>,
        /// As in a vote.
        leader_gone: bool,
    },
    /// The leader hands over: the target campaigns, the others let it.
    Transfer {
        /// The leader's vote.
        from: Vote,
        /// Who is to take over.
        to: NodeId,
        /// The leader's last entry.
        last: Option<LogId>,
    },
    /// Asks the leader up to where a read must have applied.
    ReadIndex,
}

impl RaftRequest {
    /// The words for all kinds, for logs and metrics.
    pub const KINDS: [&'static str; 6] =
        ["append", "heartbeat", "vote", "pre_vote", "transfer", "read_index"];

    /// Where its kind stands in [`RaftRequest::KINDS`].
    #[must_use]
    pub const fn kind(&self) -> usize {
        match self {
            RaftRequest::Append { entries, .. } => entries.is_empty() as usize,
            RaftRequest::Vote { .. } => 2,
            RaftRequest::PreVote { .. } => 3,
            RaftRequest::Transfer { .. } => 4,
            RaftRequest::ReadIndex => 5,
        }
    }

    /// The word for its kind.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        Self::KINDS[self.kind()]
    }
}

/// The answer to a [`RaftRequest`], of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaftReply {
    /// To [`RaftRequest::Append`].
    Append(AppendReply),
    /// To [`RaftRequest::Vote`] and [`RaftRequest::PreVote`].
    Vote {
        /// The voter's vote.
        vote: Vote,
        /// Whether it is for the candidate.
        granted: bool,
        /// The voter's last entry.
        last: Option<LogId>,
    },
    /// To [`RaftRequest::Transfer`].
    Transfer {
        /// Whether the replica goes along.
        accepted: bool,
        /// Why not.
        reason: String,
        /// The replica's vote, where it was the reason.
        vote: Option<Vote>,
    },
    /// To [`RaftRequest::ReadIndex`]: a quorum confirmed the leadership after the
    /// question came, and a read must see everything up to here.
    ReadIndex {
        /// `None`: nothing was ever committed.
        read: Option<LogId>,
    },
}

/// What a follower says to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendReply {
    /// Every entry is durable.
    Success,
    /// Durable up to here.
    Partial(Option<LogId>),
    /// The entry before the first one does not match.
    Conflict,
    /// The sender leads no longer.
    HigherVote(Vote),
}

/// What comes before the chunks of a snapshot. It describes exactly the chunks
/// that follow, not what the sender had in mind when it decided to send.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotHeader {
    /// Of which partition.
    pub partition_id: PartitionId,
    /// The leader's vote.
    pub vote: Vote,
    /// The last entry the snapshot covers.
    pub last: LogId,
    /// The membership at that entry.
    pub membership: Membership,
    /// Where the membership stands in the log.
    pub membership_log_id: Option<LogId>,
}

/// A message that brought no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// There is no connection: back off.
    #[error("node is unreachable: {0}")]
    Unreachable(String),
    /// The time was up; the message may have arrived.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke, or the peer's node failed on it.
    #[error("message failed: {0}")]
    Failed(String),
    /// The peer did not take the message.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a node does not take a message for a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused ({reason}): {message}")]
pub struct Refusal {
    /// In the words of the error table.
    pub reason: Reason,
    /// For a person.
    pub message: String,
}
