//! What a message of the simulated network is about.

use partition_types::NodeId;
use raft_glue::RaftRequest;

use super::super::wire::{Call, Parcel};
use super::traffic::{Kind, Traffic};

impl Traffic {
    /// Takes in one message.
    pub(crate) fn sent(&mut self, now_ms: u64, from: NodeId, to: NodeId, parcel: &Parcel) {
        match parcel {
            Parcel::Call { call, .. } => self.called(now_ms, from, to, kind(call)),
            Parcel::Hello { .. } => self.greeted(),
            Parcel::Answer { .. } | Parcel::Ask { .. } | Parcel::Tell { .. } => {}
        }
    }
}

fn kind(call: &Call) -> Kind {
    match call {
        Call::Raft { request, .. } => match request {
            RaftRequest::Append { entries, .. } if entries.is_empty() => Kind::Heartbeat,
            RaftRequest::Append { .. } => Kind::Append,
            RaftRequest::PreVote { .. } => Kind::PreVote,
            RaftRequest::Vote { .. } => Kind::Vote,
            RaftRequest::Transfer { .. } => Kind::Transfer,
            RaftRequest::ReadIndex => Kind::ReadIndex,
        },
        Call::Probe(_) => Kind::Probe,
        Call::Sleep(call) if call.groups.is_empty() => Kind::Beat,
        Call::Sleep(_) => Kind::Sleep,
        Call::Snapshot { .. } => Kind::Snapshot,
    }
}
