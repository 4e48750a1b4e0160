//! What opening, loading and changing a store can fail with.
//!
//! Opening fails for the whole node, so each way has an exit code of its own
//! for scripts and supervisors, and a message of one line that says what, where,
//! and what to do:
//!
//! | code | kind | retry without a human |
//! |---|---|---|
//! | 10 | [`OpenError::Locked`] | yes: the other process may be going down |
//! | 11 | [`OpenError::ForeignCluster`] | no |
//! | 12 | [`OpenError::OtherNode`] | no |
//! | 13 | [`OpenError::NewerFormat`] | no |
//! | 14 | [`OpenError::IdentityDamaged`] | no |
//! | 15 | [`OpenError::IdentityMissing`] | no |
//! | 16 | [`OpenError::DiskLost`] | no |
//! | 17 | [`OpenError::DisksDisagree`] | no |
//! | 18 | [`OpenError::DatabaseLost`] | no |
//! | 19 | [`OpenError::DatabaseDamaged`] | no |
//! | 20 | [`OpenError::ManifestUnreadable`] | no |
//! | 21 | [`OpenError::Io`] | maybe |
//!
//! Codes below 10 are the program's own; 2 is bad usage.

use std::io;
use std::path::PathBuf;

use partition_types::{ClusterId, NodeId, PartitionId};

use crate::codec::CodecError;

/// Why the store did not open. No data was changed; what the directories and
/// their identities say is looked at before anything is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory.
    #[error(
        "data directory {path} is in use by another process: stop that one, or give this node \
         a directory of its own"
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory belongs to another cluster.
    #[error(
        "data directory {path} belongs to cluster \"{found}\", not to \"{expected}\": correct \
         cluster_id, or give this node an empty directory"
    )]
    ForeignCluster {
        /// The data directory.
        path: PathBuf,
        /// The configured cluster.
        expected: ClusterId,
        /// The cluster that the directory was made for.
        found: ClusterId,
    },
    /// The directory belongs to another node of the cluster.
    #[error(
        "data directory {path} belongs to node {found}, not to node {expected}: correct node_id \
         or the disk's path"
    )]
    OtherNode {
        /// The data directory.
        path: PathBuf,
        /// The configured node.
        expected: NodeId,
        /// The node that the directory was made for.
        found: NodeId,
    },
    /// A newer program wrote the directory.
    #[error(
        "data directory {path} has format {found}, this program reads up to {supported}: start \
         the newer program that wrote it"
    )]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Its format.
        found: u8,
        /// The newest format that this program reads.
        supported: u8,
    },
    /// The identity file is there and cannot be read.
    #[error(
        "identity of data directory {path} is damaged ({problem}): restore {path}/identity from \
         a copy, or empty the directory and let the groups rebuild this node as a new one"
    )]
    IdentityDamaged {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with the file.
        problem: CodecError,
    },
    /// The directory has data and no identity.
    #[error(
        "data directory {path} has data and no identity file: restore {path}/identity from a \
         copy, or empty the directory and let the groups rebuild this node as a new one"
    )]
    IdentityMissing {
        /// The data directory.
        path: PathBuf,
    },
    /// A disk that the node had is not there any more.
    #[error(
        "disk {disk} of this node is missing: known to {known_by}, and {instead}; mount or \
         configure it, or, if it is lost for good, start once with --accept-degraded and \
         rebuild its partitions"
    )]
    DiskLost {
        /// The id of the missing disk.
        disk: uuid::Uuid,
        /// The data directory that knows of it.
        known_by: PathBuf,
        /// What is there instead.
        instead: String,
    },
    /// Two directories cannot be disks of one node.
    #[error("data directory {path} does not go with {other}: {problem}")]
    DisksDisagree {
        /// One data directory.
        path: PathBuf,
        /// The other one.
        other: PathBuf,
        /// Why not, and what to do.
        problem: &'static str,
    },
    /// The directory has an identity, and a database of it is gone or not its own.
    #[error(
        "database {path} {problem}: put the directory back as it was, or empty all of it and \
         let the groups rebuild this node as a new one"
    )]
    DatabaseLost {
        /// The database's directory.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// A database cannot be read.
    #[error(
        "database {path} is damaged ({problem}): replace the disk if it is failing, empty its \
         data directory, and rebuild its partitions from their groups"
    )]
    DatabaseDamaged {
        /// The database's directory.
        path: PathBuf,
        /// As the engine says it.
        problem: String,
    },
    /// The list of partitions cannot be read.
    #[error(
        "manifest in {path} is unreadable ({problem}): empty that data directory and rebuild \
         its partitions from their groups"
    )]
    ManifestUnreadable {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with the record.
        problem: CodecError,
    },
    /// The operating system refuses.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
}

impl OpenError {
    /// What a program that cannot start for this reason exits with: 10 and
    /// above, each kind its own.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            OpenError::Locked { .. } => 10,
            OpenError::ForeignCluster { .. } => 11,
            OpenError::OtherNode { .. } => 12,
            OpenError::NewerFormat { .. } => 13,
            OpenError::IdentityDamaged { .. } => 14,
            OpenError::IdentityMissing { .. } => 15,
            OpenError::DiskLost { .. } => 16,
            OpenError::DisksDisagree { .. } => 17,
            OpenError::DatabaseLost { .. } => 18,
            OpenError::DatabaseDamaged { .. } => 19,
            OpenError::ManifestUnreadable { .. } => 20,
            OpenError::Io { .. } => 21,
        }
    }
}

/// Why a partition did not load. The rest of the store is fine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The node has no such partition, or its disk is lost.
    #[error("partition {0} is not on any disk of this node")]
    Missing(PartitionId),
    /// What is stored of it makes no sense.
    #[error("partition {partition_id} is corrupt: {what}")]
    Corrupt {
        /// Which one.
        partition_id: PartitionId,
        /// What is wrong, in words for a report.
        what: String,
    },
    /// Its disk does not answer.
    #[error("partition {partition_id} cannot be read: {source}")]
    Io {
        /// Which one.
        partition_id: PartitionId,
        /// What came back.
        source: io::Error,
    },
}

/// Why the store was not changed, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No disk takes writes any more.
    #[error("no disk of this node takes writes")]
    NoDisk,
    /// The disk failed; it stays failed until the next start.
    #[error("disk {path}: {source}")]
    Disk {
        /// Its data directory.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
}

/// The disk is down to its reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("disk is full: {available_bytes} bytes available, {reserve_bytes} of them reserved")]
pub struct DiskFull {
    /// What the file system has left for this process.
    pub available_bytes: u64,
    /// What is kept for votes, purges, snapshots and deletes.
    pub reserve_bytes: u64,
}
