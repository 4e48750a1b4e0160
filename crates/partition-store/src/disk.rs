//! One disk of a node: a data directory with its two databases and its threads.

mod flush;
mod health;
mod loaded;
mod opening;

use std::io;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use partition_types::{PartitionId, Vote};
use uuid::Uuid;

use crate::blocking::Pools;
use crate::codec::{self, Bounds, Promised};
use crate::engine::{Batch, Durability, Engine, EngineError, Read, Table};
use crate::error::LoadError;
use crate::keys;
use crate::log::{LogInner, PartitionLog, Start, TailBytes};
use crate::mark::Marker;
use crate::space::Space;
use crate::state::{PartitionState, StateError};
use crate::writer::LogWriter;

pub(crate) use flush::{Flush, FlushThread};
pub(crate) use health::Health;
pub(crate) use loaded::Loaded;
pub(crate) use opening::OpenDisk;
#[cfg(feature = "rocksdb")]
pub(crate) use opening::{lock_fault, open_read_only};

/// A disk in use.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    /// Names it in the manifest.
    pub(crate) id: Uuid,
    pub(crate) space: Space,
    pub(crate) health: Arc<Health>,
    pub(crate) raft: Arc<dyn Engine>,
    pub(crate) marker: Option<Arc<Marker>>,
    pub(crate) data: Arc<dyn Engine>,
    pub(crate) writer: Arc<LogWriter>,
    pub(crate) flush: Arc<Flush>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) tail_bytes: Arc<TailBytes>,
    pub(crate) flusher: FlushThread,
}

impl Disk {
    /// Loads a partition: a few point reads. Handles that are in use are shared,
    /// so that a partition has one log and one state, whoever loads it.
    pub(crate) fn load(
        &self,
        id: PartitionId,
    ) -> Result<(PartitionLog, PartitionState), LoadError> {
        let (log, state) = self.loaded.get(id);
        let log = match log {
            Some(log) => log,
            None => Arc::new(LogInner::new(id, self.read_log(id)?, Arc::clone(&self.tail_bytes))),
        };
        let state = match state {
            Some(state) => state,
            None => self.open_state(id)?,
        };
        let (log, state) = self.loaded.put(id, log, state);
        let engine = Arc::clone(&self.raft);
        let log = PartitionLog::new(log, engine, Arc::clone(&self.writer), Arc::clone(&self.pools));
        Ok((log, state))
    }

    fn open_state(&self, id: PartitionId) -> Result<PartitionState, LoadError> {
        // A state takes for durable what it finds. That is so after a start, but
        // what an earlier load left in memory has to be made so first.
        if self.loaded.was_loaded(id) {
            self.flush.now().map_err(|source| LoadError::Io { partition_id: id, source })?;
        }
        let engine = Arc::clone(&self.data);
        let flusher = Arc::clone(&self.flush);
        PartitionState::open(id, engine, flusher, Arc::clone(&self.pools)).map_err(|error| {
            match error {
                StateError::Engine(error) => engine_fault(id, error),
                error => corrupt(id, error.to_string()),
            }
        })
    }

    fn read_log(&self, id: PartitionId) -> Result<Start, LoadError> {
        let start = read_start(self.raft.as_ref(), id)?;
        // The bounds were written with the last entry: if it is gone, more is.
        if let Some((_, last)) = start.bounds.entries {
            let key = keys::log_entry(id, last.index);
            let record =
                self.raft.get(Table::Log, &key).map_err(|error| engine_fault(id, error))?;
            let record = record.ok_or_else(|| {
                corrupt(id, format!("the last entry of its log, {last}, is missing"))
            })?;
            let entry = codec::decode_entry(record)
                .map_err(|error| corrupt(id, format!("last entry of its log: {error}")))?;
            if entry.log_id != last {
                let found = entry.log_id;
                return Err(corrupt(id, format!("its log ends with {found}, not with {last}")));
            }
        }
        Ok(start)
    }

    /// What a replica that is in use no more has promised, by its vote and its log;
    /// `None` when they cannot be read.
    pub(crate) fn promised(&self, id: PartitionId) -> Option<Promised> {
        let start = match read_start(self.raft.as_ref(), id) {
            Ok(start) => start,
            Err(error) => {
                tracing::warn!(partition_id = %id, %error, "deleted without its promises");
                return None;
            }
        };
        let vote = start.vote.map(|vote| Vote { committed: false, ..vote });
        Some(Promised { vote, last: start.bounds.last() })
    }

    /// Adds the deletion of everything that `raft/` has of a partition.
    pub(crate) fn delete_log(batch: &mut Batch, id: PartitionId) {
        let entries = keys::log_entries_from(id, 0);
        batch.delete_range(Table::Log, &entries.start, &entries.end);
        let leaders = keys::leaders_from(id, 0);
        batch.delete_range(Table::LogMeta, &leaders.start, &leaders.end);
        for key in [keys::vote(id), keys::bounds(id), keys::committed(id)] {
            batch.delete(Table::LogMeta, key);
        }
    }

    /// Deletes everything that `data/` has of a partition.
    pub(crate) fn delete_data(&self, id: PartitionId) -> Result<(), EngineError> {
        let range = keys::partition_data(id);
        let mut batch = Batch::default();
        for table in [Table::StateMeta, Table::Chunk] {
            batch.delete_range(table, &range.start, &range.end);
        }
        self.data.write(&batch, Durability::Buffered)
    }

    /// Deletes what a crash kept of a deleted partition, if anything.
    pub(crate) fn sweep(&self, id: PartitionId) -> io::Result<()> {
        let mut has_log = has_any(self.raft.as_ref(), Table::Log, keys::log_entries_from(id, 0))?
            || has_any(self.raft.as_ref(), Table::LogMeta, keys::leaders_from(id, 0))?;
        for key in [keys::vote(id), keys::bounds(id), keys::committed(id)] {
            has_log |= self.raft.get(Table::LogMeta, &key)?.is_some();
        }
        if has_log {
            let mut batch = Batch::default();
            Self::delete_log(&mut batch, id);
            self.writer.write(batch)?;
        }
        let mut has_data = false;
        for table in [Table::StateMeta, Table::Chunk] {
            has_data |= has_any(self.data.as_ref(), table, keys::partition_data(id))?;
        }
        if has_data {
            self.delete_data(id)?;
            self.flush.reclaim(id);
        }
        Ok(())
    }

    /// Compacts in the background from now on.
    pub(crate) fn wind_up(&self) {
        self.flusher.wind_up();
    }

    /// From now on only what is needed to close.
    pub(crate) fn wind_down(&self) {
        self.flusher.wind_down();
        self.raft.wind_down();
        self.data.wind_down();
    }

    /// Stops everything in order, and leaves nothing to replay.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.flusher.stop();
        let flushed = self.flush.now();
        self.pools.stop();
        self.writer.finish();
        flushed?;
        self.health.check()?;
        self.raft.flush()?;
        self.marker.as_ref().map_or(Ok(()), |marker| marker.mark())?;
        self.raft.end();
        self.data.end();
        Ok(())
    }
}

/// As after a crash: what is queued fails, what is not durable is gone.
impl Drop for Disk {
    fn drop(&mut self) {
        self.flusher.stop();
        self.writer.abandon();
        self.pools.stop();
    }
}

/// Reads what a log keeps beside its entries.
fn read_start(raft: &dyn Read, id: PartitionId) -> Result<Start, LoadError> {
    let get = |key: &[u8]| raft.get(Table::LogMeta, key).map_err(|error| engine_fault(id, error));
    let record = |what: &str, error: codec::CodecError| corrupt(id, format!("{what}: {error}"));
    let vote = get(&keys::vote(id))?
        .map(|value| codec::decode_vote(&value))
        .transpose()
        .map_err(|error| record("vote", error))?;
    let bounds = get(&keys::bounds(id))?
        .map(|value| codec::decode_bounds(&value))
        .transpose()
        .map_err(|error| record("log bounds", error))?
        .unwrap_or_default();
    let committed = get(&keys::committed(id))?
        .map(|value| codec::decode_committed(&value))
        .transpose()
        .map_err(|error| record("commit index", error))?;
    check_bounds(id, &bounds)?;
    Ok(Start { vote, bounds, committed })
}

fn has_any(read: &dyn Read, table: Table, range: Range<Vec<u8>>) -> Result<bool, EngineError> {
    let mut is_found = false;
    read.scan(table, &range.start..&range.end, &mut |_, _| {
        is_found = true;
        ControlFlow::Break(())
    })?;
    Ok(is_found)
}

fn check_bounds(id: PartitionId, bounds: &Bounds) -> Result<(), LoadError> {
    let Some((first_index, last)) = bounds.entries else { return Ok(()) };
    let is_sane = first_index <= last.index
        && bounds.purged.is_none_or(|purged| purged.index < first_index && purged < last);
    if is_sane { Ok(()) } else { Err(corrupt(id, format!("log bounds {bounds:?} cannot be"))) }
}

fn corrupt(partition_id: PartitionId, what: String) -> LoadError {
    LoadError::Corrupt { partition_id, what }
}

fn engine_fault(partition_id: PartitionId, error: EngineError) -> LoadError {
    match error {
        EngineError::Damaged(what) => corrupt(partition_id, what),
        EngineError::Disk(_) => LoadError::Io { partition_id, source: error.into() },
    }
}
