//! Partitions as Raft groups: the only crate that knows openraft.
//!
//! [`PartitionHost`] owns the groups of a node, [`Partition`] is a handle on
//! one of them, and [`Transport`] is what they need of the network. No type of
//! openraft is in the public interface.
//!
//! Whether a group may campaign, lead or initialise is decided by the *fence*:
//! it is closed until the start-up gate has handed out the right for it, on
//! every path that leads to leadership.

mod config;
mod error;
pub mod protocol;
mod status;
mod transport;
mod wanted;

mod abandoned;
mod balance;
mod drain;
mod driver;
mod elect;
mod host;
mod inbound;
mod maintain;
mod peers;
mod probe;
mod removed;
mod sleep;
mod succeed;

mod membership;
mod pace;
mod partition;
mod propose;
mod read;
mod seek;
mod transfer;

mod activate;
mod body;
mod contact;
mod fence;
mod group;
mod lead;
pub mod metric;
mod shared;

mod append;
mod convert;
mod log_store;
mod network;
mod replay;
mod state_machine;
mod tail;
mod types;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;

pub use config::{Activation, HostConfig, InvalidConfig};
pub use drain::DrainOutcome;
pub use elect::VerifiedLeader;
pub use error::{
    CheckFault, CreateError, LoadFault, MembershipError, NotYet, ProposeError, SnapshotError,
    TransferError,
};
pub use host::{Loaded, Opened, PartitionHost};
pub use partition::Partition;
pub use partition_store::Verify;
pub use peers::PeerState;
pub use probe::{LeaderProbe, ProbeAnswer};
pub use removed::Removal;
pub use status::{PartitionStatus, ReplicaState, Role};
pub use transport::{
    AppendReply, RaftReply, RaftRequest, Refusal, SleepCall, SleepReply, SleepingGroup,
    SnapshotHeader, Transport, TransportError,
};
pub use wanted::Want;
