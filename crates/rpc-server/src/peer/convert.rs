//! Raft messages between the words of raft-glue and those of the wire.
//!
//! Entries travel as the records of the log: encoding one copies its payload
//! once, decoding one takes a slice of what came. Nothing that comes is
//! trusted: what is missing or no value of its kind is [`Malformed`].

use std::time::Duration;

use bytes::Bytes;
use datanode_proto::v1;
use datanode_proto::v1::append_reply::Result as WireAppendResult;
use datanode_proto::v1::raft_call::Body as CallBody;
use datanode_proto::v1::raft_reply::Body as ReplyBody;
use partition_store::{decode_entry, decode_membership, encode_entry, encode_membership};
use partition_types::{
    Entry, Incarnation, InvalidId, LogId, Member, NodeId, PartitionId, Reason, Vote,
};
use raft_glue::{
    AppendReply, LeaderProbe, ProbeAnswer, RaftReply, RaftRequest, Refusal, SleepCall, SleepReply,
    SleepingGroup, SnapshotHeader,
};

/// A message that is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A record that cannot be read.
    #[error("record of {what} cannot be read: {source}")]
    Record {
        /// Of what.
        what: &'static str,
        /// Why not.
        source: partition_store::CodecError,
    },
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Refusal { reason: Reason::InvalidRequest, message: malformed.to_string() }
    }
}

/// Writes what this node says of one group's leader.
pub(super) fn probe_to_wire(probe: LeaderProbe) -> v1::LeaderProbe {
    let wire =
        v1::LeaderProbe { partition_id: probe.partition_id.get(), ..v1::LeaderProbe::default() };
    match probe.answer {
        ProbeAnswer::Leads { term, read_index } => {
            v1::LeaderProbe { leads: true, term, committed_index: read_index, ..wire }
        }
        ProbeAnswer::Removed { term, at, read_index } => v1::LeaderProbe {
            leads: true,
            term,
            committed_index: read_index,
            removed_at: Some(log_id_to_wire(at)),
            ..wire
        },
        ProbeAnswer::Serves => v1::LeaderProbe { serving: true, ..wire },
        ProbeAnswer::Starts => wire,
        ProbeAnswer::Out => v1::LeaderProbe { out_of_service: true, ..wire },
    }
}

/// Reads what a peer says of one group's leader; `None` for what is no group.
pub(super) fn probe_from_wire(wire: v1::LeaderProbe) -> Option<LeaderProbe> {
    let removed_at = wire.removed_at.filter(|_| wire.leads).map(log_id_from_wire);
    let answer = if let Some(at) = removed_at {
        ProbeAnswer::Removed { term: wire.term, at, read_index: wire.committed_index }
    } else if wire.leads {
        ProbeAnswer::Leads { term: wire.term, read_index: wire.committed_index }
    } else if wire.out_of_service {
        ProbeAnswer::Out
    } else if wire.serving {
        ProbeAnswer::Serves
    } else {
        ProbeAnswer::Starts
    };
    Some(LeaderProbe { partition_id: PartitionId::new(wire.partition_id).ok()?, answer })
}

/// Writes what this node says of its sleeping groups.
pub(super) fn sleep_to_wire(call: &SleepCall) -> v1::SleepRequest {
    let groups = call.groups.iter().map(|group| v1::SleepingGroup {
        partition_id: group.partition_id.get(),
        term: group.term,
        last: group.last.map(log_id_to_wire),
    });
    v1::SleepRequest { life: call.life, count: call.count, sum: call.sum, groups: groups.collect() }
}

/// Reads what a peer says of its sleeping groups, without what is no group.
pub(super) fn sleep_from_wire(wire: v1::SleepRequest) -> SleepCall {
    let groups = wire.groups.into_iter().filter_map(|group| {
        let partition_id = PartitionId::new(group.partition_id).ok()?;
        let last = group.last.map(log_id_from_wire);
        Some(SleepingGroup { partition_id, term: group.term, last })
    });
    SleepCall { life: wire.life, count: wire.count, sum: wire.sum, groups: groups.collect() }
}

/// Writes the answer.
pub(super) fn sleep_reply_to_wire(reply: &SleepReply) -> v1::SleepResponse {
    let agreed = reply.agreed.iter().map(|id| id.get());
    let (same, starting) = (reply.same, reply.starting);
    v1::SleepResponse { agreed_partition_ids: agreed.collect(), same, starting }
}

/// Reads the answer.
pub(super) fn sleep_reply_from_wire(wire: v1::SleepResponse) -> SleepReply {
    let agreed = wire.agreed_partition_ids.into_iter();
    SleepReply {
        agreed: agreed.filter_map(|id| PartitionId::new(id).ok()).collect(),
        same: wire.same,
        starting: wire.starting,
    }
}

/// Writes a message for the wire; the stream numbers it.
pub(super) fn call_to_wire(
    partition_id: PartitionId,
    request: &RaftRequest,
    timeout: Duration,
) -> v1::RaftCall {
    let body = match request {
        RaftRequest::Append { vote, prev, entries, committed } => {
            CallBody::Append(v1::AppendCall {
                vote: Some(vote_to_wire(*vote)),
                prev: prev.map(log_id_to_wire),
                entries: entries.iter().map(encode_entry).collect(),
                committed: committed.map(log_id_to_wire),
            })
        }
        RaftRequest::Vote { vote, last, leadership_transfer, leader_gone } => {
            CallBody::Vote(v1::VoteCall {
                vote: Some(vote_to_wire(*vote)),
                last: last.map(log_id_to_wire),
                leadership_transfer: *leadership_transfer,
                leader_gone: *leader_gone,
            })
        }
        RaftRequest::PreVote { vote, last, leader_gone } => CallBody::PreVote(v1::VoteCall {
            vote: Some(vote_to_wire(*vote)),
            last: last.map(log_id_to_wire),
            leadership_transfer: false,
            leader_gone: *leader_gone,
        }),
        RaftRequest::Transfer { from, to, last } => CallBody::Transfer(v1::TransferCall {
            from: Some(vote_to_wire(*from)),
            to_node_id: to.get(),
            last: last.map(log_id_to_wire),
        }),
        RaftRequest::ReadIndex => CallBody::ReadIndex(v1::ReadIndexCall {}),
    };
    v1::RaftCall {
        call_id: 0,
        partition_id: partition_id.get(),
        body: Some(body),
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
    }
}

/// Reads a message that came.
pub(super) fn call_from_wire(call: v1::RaftCall) -> Result<(PartitionId, RaftRequest), Malformed> {
    let partition_id = PartitionId::new(call.partition_id)?;
    let request = match call.body.ok_or(Malformed::Missing("body"))? {
        CallBody::Append(append) => RaftRequest::Append {
            vote: vote_from_wire(append.vote)?,
            prev: append.prev.map(log_id_from_wire),
            entries: entries_from_wire(append.entries)?,
            committed: append.committed.map(log_id_from_wire),
        },
        CallBody::Vote(vote) => RaftRequest::Vote {
            vote: vote_from_wire(vote.vote)?,
            last: vote.last.map(log_id_from_wire),
            leadership_transfer: vote.leadership_transfer,
            leader_gone: vote.leader_gone,
        },
        CallBody::PreVote(vote) => RaftRequest::PreVote {
            vote: vote_from_wire(vote.vote)?,
            last: vote.last.map(log_id_from_wire),
            leader_gone: vote.leader_gone,
        },
        CallBody::Transfer(transfer) => RaftRequest::Transfer {
            from: vote_from_wire(transfer.from)?,
            to: NodeId::new(transfer.to_node_id)?,
            last: transfer.last.map(log_id_from_wire),
        },
        CallBody::ReadIndex(v1::ReadIndexCall {}) => RaftRequest::ReadIndex,
    };
    Ok((partition_id, request))
}

/// Writes what a group, or the node for it, said.
pub(super) fn reply_to_wire(call_id: u64, reply: Result<RaftReply, Refusal>) -> v1::RaftReply {
    let body = match reply {
        Ok(RaftReply::Append(append)) => ReplyBody::Append(v1::AppendReply {
            result: Some(match append {
                AppendReply::Success => WireAppendResult::Success(v1::AppendSuccess {}),
                AppendReply::Partial(last) => {
                    WireAppendResult::Partial(v1::AppendPartial { last: last.map(log_id_to_wire) })
                }
                AppendReply::Conflict => WireAppendResult::Conflict(v1::AppendConflict {}),
                AppendReply::HigherVote(vote) => WireAppendResult::HigherVote(vote_to_wire(vote)),
            }),
        }),
        Ok(RaftReply::Vote { vote, granted, last }) => ReplyBody::Vote(v1::VoteReply {
            vote: Some(vote_to_wire(vote)),
            granted,
            last: last.map(log_id_to_wire),
        }),
        Ok(RaftReply::Transfer { accepted, reason, vote }) => {
            ReplyBody::Transfer(v1::TransferReply {
                accepted,
                reason,
                vote: vote.map(vote_to_wire),
            })
        }
        Ok(RaftReply::ReadIndex { read }) => {
            ReplyBody::ReadIndex(v1::ReadIndexReply { read: read.map(log_id_to_wire) })
        }
        Err(refusal) => ReplyBody::Refused(v1::RaftRefusal {
            reason: refusal.reason.as_str().to_owned(),
            message: refusal.message,
        }),
    };
    v1::RaftReply { call_id, body: Some(body) }
}

/// Reads an answer that came: a refusal is the inner error.
pub(super) fn reply_from_wire(
    reply: v1::RaftReply,
) -> Result<Result<RaftReply, Refusal>, Malformed> {
    let reply = match reply.body.ok_or(Malformed::Missing("body"))? {
        ReplyBody::Append(append) => {
            RaftReply::Append(match append.result.ok_or(Malformed::Missing("result"))? {
                WireAppendResult::Success(v1::AppendSuccess {}) => AppendReply::Success,
                WireAppendResult::Partial(partial) => {
                    AppendReply::Partial(partial.last.map(log_id_from_wire))
                }
                WireAppendResult::Conflict(v1::AppendConflict {}) => AppendReply::Conflict,
                WireAppendResult::HigherVote(vote) => {
                    AppendReply::HigherVote(vote_from_wire(Some(vote))?)
                }
            })
        }
        ReplyBody::Vote(vote) => RaftReply::Vote {
            vote: vote_from_wire(vote.vote)?,
            granted: vote.granted,
            last: vote.last.map(log_id_from_wire),
        },
        ReplyBody::Transfer(transfer) => RaftReply::Transfer {
            accepted: transfer.accepted,
            reason: transfer.reason,
            vote: transfer.vote.map(|vote| vote_from_wire(Some(vote))).transpose()?,
        },
        ReplyBody::ReadIndex(read_index) => {
            RaftReply::ReadIndex { read: read_index.read.map(log_id_from_wire) }
        }
        ReplyBody::Refused(refused) => {
            // A newer node may know reasons that this one does not.
            let reason = refused.reason.parse().unwrap_or(Reason::Internal);
            return Ok(Err(Refusal { reason, message: refused.message }));
        }
    };
    Ok(Ok(reply))
}

/// Writes what opens a snapshot's stream.
pub(super) fn header_to_wire(header: &SnapshotHeader) -> v1::SnapshotHeader {
    v1::SnapshotHeader {
        partition_id: header.partition_id.get(),
        vote: Some(vote_to_wire(header.vote)),
        last: Some(log_id_to_wire(header.last)),
        membership: encode_membership(&header.membership),
        membership_log_id: header.membership_log_id.map(log_id_to_wire),
    }
}

/// Reads what opens a snapshot's stream.
pub(super) fn header_from_wire(header: v1::SnapshotHeader) -> Result<SnapshotHeader, Malformed> {
    Ok(SnapshotHeader {
        partition_id: PartitionId::new(header.partition_id)?,
        vote: vote_from_wire(header.vote)?,
        last: log_id_from_wire(header.last.ok_or(Malformed::Missing("last"))?),
        membership: decode_membership(header.membership)
            .map_err(|source| Malformed::Record { what: "the membership", source })?,
        membership_log_id: header.membership_log_id.map(log_id_from_wire),
    })
}

/// Writes a vote.
pub(super) fn vote_to_wire(vote: Vote) -> v1::Vote {
    v1::Vote {
        term: vote.term,
        node_id: vote.voted_for.map_or(0, NodeId::get),
        committed: vote.committed,
    }
}

/// Reads a vote that must be there.
pub(super) fn vote_from_wire(vote: Option<v1::Vote>) -> Result<Vote, Malformed> {
    let vote = vote.ok_or(Malformed::Missing("vote"))?;
    // 0 is "nobody": the wire has no other way to say so.
    let voted_for = NodeId::new(vote.node_id).ok();
    Ok(Vote { term: vote.term, voted_for, committed: vote.committed })
}

/// Writes a member.
pub(crate) fn member_to_wire(node_id: NodeId, member: &Member) -> v1::Member {
    v1::Member {
        node_id: node_id.get(),
        incarnation: Bytes::copy_from_slice(member.incarnation.as_bytes()),
        peer_address: member.peer_address.clone(),
        client_address: member.client_address.clone(),
        admin_address: member.admin_address.clone(),
    }
}

/// Reads a member.
pub(crate) fn member_from_wire(member: v1::Member) -> Result<(NodeId, Member), Malformed> {
    let node_id = NodeId::new(member.node_id)?;
    let incarnation = Incarnation::from_wire(&member.incarnation)?;
    let member = Member {
        incarnation,
        peer_address: member.peer_address,
        client_address: member.client_address,
        admin_address: member.admin_address,
    };
    Ok((node_id, member))
}

fn log_id_to_wire(log_id: LogId) -> v1::LogId {
    v1::LogId {
        term: log_id.term,
        leader_node_id: log_id.leader.map_or(0, NodeId::get),
        index: log_id.index,
    }
}

fn log_id_from_wire(log_id: v1::LogId) -> LogId {
    LogId {
        term: log_id.term,
        leader: NodeId::new(log_id.leader_node_id).ok(),
        index: log_id.index,
    }
}

fn entries_from_wire(records: Vec<Bytes>) -> Result<Vec<Entry>, Malformed> {
    records
        .into_iter()
        .map(|record| {
            decode_entry(record).map_err(|source| Malformed::Record { what: "a log entry", source })
        })
        .collect()
}
