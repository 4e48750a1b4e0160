//! RocksDB behind [`Engine`]: the one module that knows it.
//!
//! Two kinds of database, see `docs/disk-format.md` for the reasons and
//! measurements behind each option:
//!
//! - `raft/`: everything through the write-ahead log. Damage in the middle of that
//!   log makes the open fail: the engine's default would open with what comes
//!   before it, and so take back votes and acknowledged entries without a word.
//! - `data/`: no write-ahead log, both tables flushed as one, so that after a
//!   crash they are as of one moment.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    DBRawIterator, DBRecoveryMode, Env, ErrorKind, FlushOptions, LogLevel, Options, ReadOptions,
    WriteBatch, WriteOptions, properties,
};

use super::{
    Batch, Change, Durability, Engine, EngineError, EngineUsage, Kind, Mode, Read, Table, Visit,
};
use crate::lock::DirLock;

const MIB: usize = 1024 * 1024;

/// The memtable of the logs. Logs are kept for followers that were away, so nearly
/// all of it is written to files some day: in small pieces, while others use
/// the disk too, and a little of it at a close.
const LOG_BUFFER_LEN: usize = 32 * MIB;

/// Values from this size on live in blob files: compaction moves their keys and
/// not them.
const BLOB_LEN_MIN: u64 = 4 * 1024;
const BLOB_FILE_LEN: u64 = 256 * 1024 * 1024;

/// What a scan of a log reads at a time: the last entries are looked at in every start, and are
/// several blocks.
const LOG_SCAN_LEN: usize = 16 * 1024;

/// An open database.
pub(crate) struct Rocks {
    // Before the lock: the directory is let go of when the database is closed.
    db: DB,
    kind: Kind,
    _lock: Arc<DirLock>,
}

impl Rocks {
    /// Opens the database of a data directory.
    pub(crate) fn open(
        disk: &Path,
        kind: Kind,
        mode: Mode,
        lock: Arc<DirLock>,
    ) -> Result<Self, EngineError> {
        let path = disk.join(kind.dir());
        let options = database_options(kind, mode)?;
        let tables = kind
            .tables()
            .map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(&options, table)));
        let db = match mode {
            Mode::Create | Mode::Existing => DB::open_cf_descriptors(&options, path, tables),
            Mode::ReadOnly => DB::open_cf_descriptors_read_only(&options, path, tables, false),
        }?;
        Ok(Self { db, kind, _lock: lock })
    }

    /// The number of its last change.
    pub(crate) fn sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    fn compact_by_itself(&self, shall: bool) {
        let is_disabled = if shall { "false" } else { "true" };
        for table in self.kind.tables() {
            let change = [("disable_auto_compactions", is_disabled)];
            if let Err(error) = self.db.set_options_cf(self.table(table), &change) {
                tracing::warn!(%error, table = table.name(), shall, "compactions are not changed");
            }
        }
    }

    fn property(&self, table: Table, name: &properties::PropName) -> u64 {
        self.db.property_int_value_cf(self.table(table), name).ok().flatten().unwrap_or(0)
    }

    fn table(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table is opened with its database")
    }
}

/// The threads of all databases of this process. Requests come first: flushes and
/// compactions take the processor that is left.
fn background() -> Result<&'static Env, EngineError> {
    static BACKGROUND: OnceLock<Env> = OnceLock::new();
    if let Some(env) = BACKGROUND.get() {
        return Ok(env);
    }
    let mut env = Env::new()?;
    env.lower_thread_pool_cpu_priority();
    env.lower_high_priority_thread_pool_cpu_priority();
    Ok(BACKGROUND.get_or_init(|| env))
}

fn database_options(kind: Kind, mode: Mode) -> Result<Options, EngineError> {
    // A store that is dropped without being closed is as after a crash: what
    // was not made durable is gone. There is no typed setter for it.
    let mut options =
        Options::default().get_options_from_string("avoid_flush_during_shutdown=true")?;
    options.set_env(background()?);
    options.create_if_missing(mode == Mode::Create);
    options.create_missing_column_families(mode == Mode::Create);
    options.set_max_open_files(-1);
    options.set_max_background_jobs(2);
    options.set_disable_auto_compactions(true);
    options.set_paranoid_checks(true);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    match kind {
        Kind::Raft => {
            options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
            options.set_track_and_verify_wals_in_manifest(true);
            // Both tables are flushed as one, so that each flush ends a log file,
            // and what an open replays is no more than one memtable has.
            options.set_max_total_wal_size(2 * LOG_BUFFER_LEN as u64);
        }
        Kind::Data => {}
    }
    options.set_atomic_flush(true);
    // A file goes to the disk bit by bit, not all at its end: nobody's sync waits
    // behind a whole memtable.
    options.set_bytes_per_sync(MIB as u64);
    Ok(options)
}

fn table_options(database: &Options, table: Table) -> Options {
    let mut options = database.clone();
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&blocks);
    match table {
        Table::Log => options.set_write_buffer_size(LOG_BUFFER_LEN),
        Table::LogMeta => options.set_write_buffer_size(16 * MIB),
        Table::StateMeta => options.set_write_buffer_size(64 * MIB),
        Table::Chunk => options.set_write_buffer_size(128 * MIB),
    }
    match table {
        Table::Log | Table::Chunk => {
            options.set_compression_type(DBCompressionType::None);
            options.set_enable_blob_files(true);
            options.set_min_blob_size(BLOB_LEN_MIN);
            options.set_blob_file_size(BLOB_FILE_LEN);
            options.set_blob_compression_type(DBCompressionType::None);
            options.set_enable_blob_gc(true);
            options.set_blob_gc_age_cutoff(0.25);
            options.set_blob_gc_force_threshold(0.5);
        }
        Table::LogMeta | Table::StateMeta => {
            options.set_compression_type(DBCompressionType::Lz4);
        }
    }
    options
}

impl From<rocksdb::Error> for EngineError {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            ErrorKind::Corruption => EngineError::Damaged(error.into_string()),
            _ => EngineError::Disk(error.into_string()),
        }
    }
}

impl Engine for Rocks {
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let mut changes =
            WriteBatch::with_capacity_bytes(batch.len_bytes() + 64 * batch.changes().len());
        let mut joined = Vec::new();
        for change in batch.changes() {
            match change {
                Change::Put { table, key, value: super::Value::Whole(value) } => {
                    changes.put_cf(self.table(*table), key, value);
                }
                Change::Put { table, key, value } => {
                    joined.clear();
                    value.write_to(&mut joined);
                    changes.put_cf(self.table(*table), key, &joined);
                }
                Change::Delete { table, key } => changes.delete_cf(self.table(*table), key),
                Change::DeleteRange { table, from, to } => {
                    changes.delete_range_cf(self.table(*table), from, to);
                }
            }
        }
        let mut options = WriteOptions::default();
        match self.kind {
            Kind::Raft => options.set_sync(durability == Durability::Synced),
            Kind::Data => options.disable_wal(true),
        }
        if batch.is_empty() && self.kind == Kind::Raft {
            // An empty batch would not reach the file, and so not sync what
            // earlier ones wrote to it.
            if durability == Durability::Synced {
                self.db.flush_wal(true)?;
            }
            return Ok(());
        }
        self.db.write_opt(changes, &options)?;
        if self.kind == Kind::Data && durability == Durability::Synced {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        let tables = self.kind.tables().map(|table| self.table(table));
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&tables.each_ref(), &options)?;
        Ok(())
    }

    fn reclaim(&self, table: Table, range: Range<&[u8]>) -> Result<(), EngineError> {
        let options = CompactOptions::default();
        let (from, to) = (Some(range.start), Some(range.end));
        self.db.compact_range_cf_opt(self.table(table), from, to, &options);
        Ok(())
    }

    fn wind_up(&self) {
        self.compact_by_itself(true);
    }

    fn wind_down(&self) {
        self.compact_by_itself(false);
    }

    fn end(&self) {
        self.db.cancel_all_background_work(true);
    }

    fn usage(&self) -> EngineUsage {
        let mut all = EngineUsage::default();
        for table in self.kind.tables() {
            all += EngineUsage {
                memtables: self.property(table, properties::CUR_SIZE_ALL_MEM_TABLES),
                table_readers: self.property(table, properties::ESTIMATE_TABLE_READERS_MEM),
                // Each table has a cache of its own.
                block_cache: self.property(table, properties::BLOCK_CACHE_USAGE),
                compaction_pending: self
                    .property(table, properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            };
        }
        all
    }

    fn snapshot(&self) -> Box<dyn Read + '_> {
        Box::new(View { rocks: self, snapshot: self.db.snapshot() })
    }
}

impl Read for Rocks {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.db.get_pinned_cf(self.table(table), key)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.end);
        if table == Table::Log {
            options.set_readahead_size(LOG_SCAN_LEN);
        }
        ascend(self.db.raw_iterator_cf_opt(self.table(table), options), range.start, visit)
    }

    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.start);
        descend(self.db.raw_iterator_cf_opt(self.table(table), options), range.end, visit)
    }
}

/// The database as it was at one moment.
struct View<'a> {
    rocks: &'a Rocks,
    snapshot: rocksdb::Snapshot<'a>,
}

impl Read for View<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.snapshot.get_pinned_cf(self.rocks.table(table), key)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.end);
        let table = self.rocks.table(table);
        ascend(self.snapshot.raw_iterator_cf_opt(table, options), range.start, visit)
    }

    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.start);
        let table = self.rocks.table(table);
        descend(self.snapshot.raw_iterator_cf_opt(table, options), range.end, visit)
    }
}

/// Visits from `from` to the iterator's upper bound.
fn ascend(
    mut at: DBRawIterator<'_>,
    from: &[u8],
    visit: &mut Visit<'_>,
) -> Result<(), EngineError> {
    at.seek(from);
    while let Some((key, value)) = at.item() {
        if visit(key, value) == ControlFlow::Break(()) {
            return Ok(());
        }
        at.next();
    }
    Ok(at.status()?)
}

/// Visits from below `end` to the iterator's lower bound.
fn descend(
    mut at: DBRawIterator<'_>,
    end: &[u8],
    visit: &mut Visit<'_>,
) -> Result<(), EngineError> {
    at.seek_for_prev(end);
    if at.key() == Some(end) {
        at.prev();
    }
    while let Some((key, value)) = at.item() {
        if visit(key, value) == ControlFlow::Break(()) {
            return Ok(());
        }
        at.prev();
    }
    Ok(at.status()?)
}
