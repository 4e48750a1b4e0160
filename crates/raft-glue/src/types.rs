//! What openraft is told our types are.
//!
//! Commands, outcomes and members go through it as they are; only ids of
//! positions are translated, in `convert`.

use std::fmt;

use openraft::impls::leader_id_adv::LeaderId;
use openraft::impls::{BoxedErrorSource, InlineBatch, OneshotResponder, Vote};
use openraft::metrics::{RaftMetrics, RaftServerMetrics};
use openraft::type_config::alias::{
    CommittedLeaderIdOf, EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
    WatchReceiverOf,
};
use openraft::{Entry, EntryPayload, OptionalSend, RaftTypeConfig};
use openraft_rt_tokio::TokioRuntime;
use partition_types::{Command, Incarnation, Member, Outcome};

use crate::state_machine::{SnapshotData, StateMachine};

/// The types of every group.
///
/// Leader ids are of the advanced kind: a term may see more than one leader,
/// so that two candidates never block each other for a whole term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Data;
    type R = Outcome;
    type NodeId = u64;
    type Node = GroupMember;
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = Vote<Self::LeaderId>;
    type Payload = EntryPayload<Data, u64, GroupMember>;
    type Entry = Entry<CommittedLeaderIdOf<Self>, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// What an entry of a log has for the state machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Command(Command),
    /// The entry was not read: it has this id, and the log has the rest of it. Only entries on
    /// their way to a follower are so, and [`Link`](crate::network::Link) sends none of them.
    Unread,
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => command.fmt(f),
            Self::Unread => f.write_str("not read"),
        }
    }
}

/// What a running group says of its role, vote and members.
pub(crate) type ServerMetrics = WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;
/// And everything else that it says.
pub(crate) type AllMetrics = WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;

/// A [`Member`] with the default that openraft's tools ask for: nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupMember(pub(crate) Member);

impl Default for GroupMember {
    fn default() -> Self {
        Self(Member {
            incarnation: Incarnation::from_bytes([0; 16]),
            peer_address: String::new(),
            client_address: String::new(),
            admin_address: String::new(),
        })
    }
}

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type RaftEntry = EntryOf<TypeConfig>;
pub(crate) type RaftLogId = LogIdOf<TypeConfig>;
pub(crate) type RaftVote = VoteOf<TypeConfig>;
pub(crate) type RaftMembership = openraft::Membership<u64, GroupMember>;
pub(crate) type RaftStoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type RaftSnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type RaftSnapshot = SnapshotOf<TypeConfig, SnapshotData>;
