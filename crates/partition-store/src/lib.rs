//! Partitions on RocksDB: the only crate that knows it.
//!
//! A [`Store`] is all data directories of a node. Each has an identity, a lock,
//! and two databases that all its partitions share: `raft/` with their logs and
//! votes, where every write is synced, and `data/` with their states, which is
//! replayed from the logs after a crash. A [`PartitionStore`] is one partition in
//! it: a [`PartitionLog`] and a [`PartitionState`].
//!
//! What is where on a disk is in `keys` and `codec`, and nowhere else.

// Without RocksDB there are no directories, and what is for them is idle.
#![cfg_attr(not(feature = "rocksdb"), allow(dead_code))]

mod check;
mod log;
mod partition;
mod snapshot;
mod state;
mod store;

mod blocking;
mod disk;
mod identity;
mod lock;
mod manifest;
#[cfg_attr(not(feature = "rocksdb"), path = "mark/none.rs")]
mod mark;
#[cfg(feature = "planted")]
pub mod planted;
mod space;
mod writer;

mod codec;
mod engine;
mod keys;

mod error;
pub mod metric;

#[cfg(test)]
mod testing;

pub use check::{CheckError, CheckReport, Checked, Verify};
pub use codec::{CodecError, decode_entry, decode_membership, encode_entry, encode_membership};
pub use engine::EngineUsage;
#[cfg(any(test, feature = "simulation"))]
pub use engine::simulated::{Lost, MemoryDisk};
pub use error::{DiskFull, LoadError, OpenError, StoreError};
pub use log::{LogBounds, PartitionLog};
pub use partition::{PartitionStore, Recovered};
pub use snapshot::{SnapshotReader, SnapshotSink, SnapshotSource, StagedSnapshot};
pub use state::{
    Damage, Frame, PartitionState, Problem, READ_LEN_MAX, ReadError, ReadOutcome, ReplicaSum, Usage,
};
pub use store::{DiskConfig, DiskStatus, LogWrites, ManifestEntry, Store, StoreConfig};
