//! The seam between partitions and the key-value engine that keeps them.
//!
//! The store knows tables, batches and two kinds of durability, and nothing of
//! RocksDB, which stops at [`rocks`]. An engine that loses what was not synced
//! when it "crashes" fits behind the same traits.

mod batch;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod image;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(feature = "rocksdb")]
pub(crate) mod rocks;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod simulated;
#[cfg(feature = "rocksdb")]
#[cfg(test)]
mod tests;

use std::io;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;

pub(crate) use batch::{Batch, Change, Value};

/// The tables of a disk. The first two are in `raft/`, the others in `data/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Entries of all logs.
    Log,
    /// Votes, bounds and commit indexes of all logs; the manifest.
    LogMeta,
    /// All that describes the partitions' states.
    StateMeta,
    /// Payload.
    Chunk,
}

impl Table {
    /// The column family's name; never changes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Table::Log => "log",
            Table::LogMeta => "log_meta",
            Table::StateMeta => "state_meta",
            Table::Chunk => "chunk",
        }
    }
}

/// The kinds of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Raft,
    Data,
}

impl Kind {
    /// The name of its directory.
    pub(crate) const fn dir(self) -> &'static str {
        match self {
            Kind::Raft => "raft",
            Kind::Data => "data",
        }
    }

    #[cfg(feature = "rocksdb")]
    const fn tables(self) -> [Table; 2] {
        match self {
            Kind::Raft => [Table::Log, Table::LogMeta],
            Kind::Data => [Table::StateMeta, Table::Chunk],
        }
    }
}

/// How to open a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Make it if it is not there.
    Create,
    /// Fail if it is not there.
    Existing,
    /// Likewise, and never write.
    ReadOnly,
}

/// What a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// For the disk: the write, and all before it, survive a power cut.
    Synced,
    /// For nothing: a crash may take it, but never a part of it, and never it
    /// without what was written after it.
    Buffered,
}

/// What an engine can fail with.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EngineError {
    /// What is on the disk is not what was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The disk does not take or give bytes.
    #[error("{0}")]
    Disk(String),
}

impl From<EngineError> for io::Error {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::Damaged(_) => io::ErrorKind::InvalidData,
            EngineError::Disk(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// What a database takes of the machine at a moment, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineUsage {
    /// Changes that are not in files yet, in memory.
    pub memtables: u64,
    /// Indexes and filters of the open files, in memory.
    pub table_readers: u64,
    /// Blocks of files, in memory.
    pub block_cache: u64,
    /// What compactions have still to rewrite, on the disk; an estimate.
    pub compaction_pending: u64,
}

impl std::ops::AddAssign for EngineUsage {
    fn add_assign(&mut self, other: Self) {
        self.memtables += other.memtables;
        self.table_readers += other.table_readers;
        self.block_cache += other.block_cache;
        self.compaction_pending += other.compaction_pending;
    }
}

/// Takes a key and its value; both end with the call.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// Looks at tables. Blocks.
pub(crate) trait Read {
    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits the keys of a range in ascending order until told to stop.
    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError>;

    /// Visits the keys of a range in descending order until told to stop.
    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError>;
}

/// One database: a few tables that are written atomically together. Blocks.
pub(crate) trait Engine: Read + Send + Sync + 'static {
    /// Makes all changes of a batch, in order and at once.
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError>;

    /// Makes everything written before durable, and leaves nothing to replay
    /// at the next open.
    fn flush(&self) -> Result<(), EngineError>;

    /// Gives the disk back what was deleted in a range. Slow.
    fn reclaim(&self, table: Table, range: Range<&[u8]>) -> Result<(), EngineError>;

    /// Files are compacted in the background from now on; not before, since that would take disk
    /// and processors from a start.
    fn wind_up(&self) {}

    /// Nothing is compacted in the background from now on: it is to be closed
    /// soon, and what is begun now would only delay that.
    fn wind_down(&self) {}

    /// Ends what runs in the background. Nothing is written or flushed after it.
    fn end(&self) {}

    /// What it takes; nothing where it does not count.
    fn usage(&self) -> EngineUsage {
        EngineUsage::default()
    }

    /// A view that later writes do not change.
    fn snapshot(&self) -> Box<dyn Read + '_>;
}
