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
mod host;
mod partition;
mod status;
mod transport;

pub use config::{HostConfig, InvalidConfig};
pub use error::{
    CheckFault, CreateError, LoadFault, MembershipError, NotYet, ProposeError, SnapshotError,
    TransferError,
};
pub use host::{DrainOutcome, Loaded, PartitionHost, VerifiedLeader};
pub use partition::Partition;
pub use partition_store::Verify;
pub use status::{PartitionStatus, ReplicaState, Role};
pub use transport::{
    AppendReply, RaftReply, RaftRequest, Refusal, SnapshotHeader, Transport, TransportError,
};
