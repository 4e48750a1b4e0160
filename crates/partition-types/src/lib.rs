//! The nouns of a partition store: ids, log positions, commands and their
//! outcomes, membership, and the reasons an operator or client is told.
//!
//! No IO, no async, no serialisation: how these look on disk is
//! `partition-store`'s business, how they look on the wire is `rpc-server`'s
//! and `datanode-client`'s.

mod checksum;
mod command;
mod id;
mod log;
mod member;
mod outcome;
mod reason;

pub use checksum::Crc32c;
pub use command::{Command, Op};
pub use id::{ClusterId, ExtentId, Incarnation, InvalidId, NodeId, PartitionId, RequestId};
pub use log::{Entry, LogId, Payload, Vote};
pub use member::{Member, Membership};
pub use outcome::{Deleted, ExtentInfo, Outcome, Rejection};
pub use reason::Reason;
