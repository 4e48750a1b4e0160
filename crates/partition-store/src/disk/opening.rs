//! Opening the databases of a data directory, and starting a disk's threads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Disk, Flush, FlushThread, Health, Loaded};
use crate::blocking::Pools;
#[cfg(feature = "rocksdb")]
use crate::codec::MarkRecord;
use crate::codec::{CodecError, NodeRecord, Phase, decode_node, encode_node};
#[cfg(feature = "rocksdb")]
use crate::codec::{decode_opens, encode_opens};
#[cfg(feature = "rocksdb")]
use crate::engine::rocks::Rocks;
#[cfg(any(test, feature = "simulation"))]
use crate::engine::simulated::MemoryDisk;
use crate::engine::{Batch, Durability, Engine, EngineError, Kind, Mode, Read, Table};
use crate::error::OpenError;
#[cfg(feature = "rocksdb")]
use crate::identity::{self, Found};
use crate::keys;
#[cfg(feature = "rocksdb")]
use crate::lock::DirLock;
use crate::lock::LockError;
use crate::log::{Recent, TailBytes};
use crate::manifest::{Manifest, ManifestError};
#[cfg(feature = "rocksdb")]
use crate::mark;
use crate::mark::Marker;
use crate::metric::{FlushMetrics, WriterMetrics};
use crate::space::Space;
use crate::writer::LogWriter;

/// A data directory whose databases are open.
pub(crate) struct OpenDisk {
    path: PathBuf,
    identity: NodeRecord,
    raft: Arc<dyn Engine>,
    data: Arc<dyn Engine>,
    /// `None`: the engine loses nothing behind our back.
    marker: Option<Arc<Marker>>,
    /// What its own manifest says.
    pub(crate) manifest: Manifest,
}

impl OpenDisk {
    /// Looks whether a directory that was made has its databases. Opening one
    /// changes files, so this is asked of all directories first.
    pub(crate) fn check_there(path: &Path, identity: &NodeRecord) -> Result<(), OpenError> {
        match identity.phase {
            Phase::Making => Ok(()),
            Phase::Made => [Kind::Raft, Kind::Data].iter().try_for_each(|kind| {
                let directory = path.join(kind.dir());
                // The files that name all others: without them there is no database.
                let Ok(current) = fs::read_to_string(directory.join("CURRENT")) else {
                    return Err(OpenError::DatabaseLost { path: directory, problem: "is gone" });
                };
                if !directory.join(current.trim_end()).exists() {
                    let problem = "has lost the list of its files, which its CURRENT names";
                    return Err(OpenError::DatabaseLost { path: directory, problem });
                }
                Ok(())
            }),
        }
    }

    /// Opens the databases, making them if the directory is being made.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn open(
        path: &Path,
        identity: &NodeRecord,
        lock: &Arc<DirLock>,
    ) -> Result<Self, OpenError> {
        let mode = match identity.phase {
            Phase::Making => Mode::Create,
            Phase::Made => Mode::Existing,
        };
        let mark = mark::read(path)?;
        if let Some(mark) = &mark {
            look_first(path, identity, mark, lock)?;
        }
        let raft = open_database(path, Kind::Raft, mode, lock)?;
        let data = open_database(path, Kind::Data, mode, lock)?;
        check_own(path, identity, mode, &raft, &data)?;
        check_mark(path, mark.as_ref(), &raft)?;
        let manifest = read_manifest(path, &raft)?;
        let (path, identity, raft) = (path.to_owned(), identity.clone(), Arc::new(raft));
        let marker = Some(begin_marking(&path, &raft)?);
        Ok(Self { path, identity, raft, data: Arc::new(data), marker, manifest })
    }

    /// Likewise, on a disk in memory.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn open_in_memory(
        path: &Path,
        identity: &NodeRecord,
        disk: &MemoryDisk,
    ) -> Result<Self, OpenError> {
        let mode = match identity.phase {
            Phase::Making => Mode::Create,
            Phase::Made => Mode::Existing,
        };
        let (raft, data) = (Arc::new(disk.open(Kind::Raft)), Arc::new(disk.open(Kind::Data)));
        check_own(path, identity, mode, raft.as_ref(), data.as_ref())?;
        let manifest = read_manifest(path, raft.as_ref())?;
        let (path, identity) = (path.to_owned(), identity.clone());
        Ok(Self { path, identity, raft, data, marker: None, manifest })
    }

    /// Brings the disk's manifest up to the node's.
    pub(crate) fn update_manifest(&self, manifest: &Manifest) -> Result<(), OpenError> {
        let batch = manifest.missing_in(&self.manifest);
        if batch.is_empty() {
            return Ok(());
        }
        self.raft
            .write(&batch, Durability::Synced)
            .map_err(|error| engine_fault(&self.path.join(Kind::Raft.dir()), error))?;
        let marked = self.marker.as_ref().map_or(Ok(()), |marker| marker.mark());
        marked.map_err(|source| OpenError::Io {
            action: "write",
            path: self.path.join("raft.mark"),
            source,
        })
    }

    /// Starts the disk's threads.
    pub(crate) fn start(
        self,
        nth: usize,
        reserve_bytes: u64,
        flushed: watch::Sender<u64>,
    ) -> Result<Disk, OpenError> {
        let path = self.path.clone();
        self.try_start(nth, reserve_bytes, flushed).map_err(|source| OpenError::Io {
            action: "start the threads of",
            path,
            source,
        })
    }

    fn try_start(
        self,
        nth: usize,
        reserve_bytes: u64,
        flushed: watch::Sender<u64>,
    ) -> io::Result<Disk> {
        let parts = self.parts();
        let writer = LogWriter::start(
            format!("store{nth}-log"),
            Arc::clone(&self.raft),
            Arc::clone(&parts.health),
            Recent::new(Arc::clone(&parts.tail_bytes)),
            self.marker.clone(),
            WriterMetrics::new(nth),
        )?;
        let flush = self.flush(nth, &parts, Arc::new(writer), flushed);
        let flusher = FlushThread::start(format!("store{nth}-flush"), Arc::clone(&flush))?;
        let space = Space::new(self.path.clone(), reserve_bytes);
        Ok(self.disk(parts, flush, flusher, space, Pools::start(nth)?))
    }

    /// The disk, with tasks in the threads' places.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn start_simulated(
        self,
        nth: usize,
        memory: &MemoryDisk,
        flushed: watch::Sender<u64>,
    ) -> Disk {
        let parts = self.parts();
        let writer = LogWriter::simulated(
            memory.clone(),
            Arc::clone(&self.raft),
            Arc::clone(&parts.health),
            Recent::new(Arc::clone(&parts.tail_bytes)),
            WriterMetrics::new(nth),
        );
        let flush = self.flush(nth, &parts, Arc::new(writer), flushed);
        let flusher = FlushThread::simulated(Arc::clone(&flush));
        self.disk(parts, flush, flusher, Space::endless(), Pools::simulated(memory))
    }

    fn parts(&self) -> Parts {
        Parts {
            health: Arc::new(Health::new(self.path.clone())),
            tail_bytes: Arc::default(),
            loaded: Arc::default(),
        }
    }

    fn flush(
        &self,
        nth: usize,
        parts: &Parts,
        writer: Arc<LogWriter>,
        flushed: watch::Sender<u64>,
    ) -> Arc<Flush> {
        let disk = self.identity.disk;
        Arc::new(Flush {
            disk,
            engine: Arc::clone(&self.data),
            raft: Arc::clone(&self.raft) as Arc<dyn Engine>,
            writer,
            loaded: Arc::clone(&parts.loaded),
            health: Arc::clone(&parts.health),
            metrics: FlushMetrics::new(nth),
            flushed,
            one_at_a_time: Mutex::new(()),
            unflushed_bytes: AtomicU64::new(0),
            due_bytes: AtomicU64::new(super::flush::due_bytes(disk, 0)),
            freed_bytes: AtomicU64::new(0),
            wanted: Arc::default(),
        })
    }

    fn disk(
        self,
        parts: Parts,
        flush: Arc<Flush>,
        flusher: FlushThread,
        space: Space,
        pools: Pools,
    ) -> Disk {
        Disk {
            space,
            path: self.path,
            id: self.identity.disk,
            health: parts.health,
            raft: self.raft,
            marker: self.marker,
            data: self.data,
            writer: Arc::clone(&flush.writer),
            flush,
            loaded: parts.loaded,
            pools: Arc::new(pools),
            tail_bytes: parts.tail_bytes,
            flusher,
        }
    }
}

/// Checks that both databases are this directory's own; new ones are told so.
fn check_own(
    path: &Path,
    identity: &NodeRecord,
    mode: Mode,
    raft: &dyn Engine,
    data: &dyn Engine,
) -> Result<(), OpenError> {
    let opened = [
        (raft, Kind::Raft, Table::LogMeta, keys::raft_node()),
        (data, Kind::Data, Table::StateMeta, keys::data_node()),
    ];
    for (engine, kind, table, key) in opened {
        let directory = path.join(kind.dir());
        match check_node(engine, &directory, table, &key, identity)? {
            Belongs::Here => {}
            Belongs::Nowhere if mode == Mode::Create => {
                let mut batch = Batch::default();
                batch.put(table, key, encode_node(identity));
                engine
                    .write(&batch, Durability::Synced)
                    .map_err(|error| engine_fault(&directory, error))?;
            }
            Belongs::Nowhere => {
                let problem = "does not say whose it is";
                return Err(OpenError::DatabaseLost { path: directory, problem });
            }
        }
    }
    Ok(())
}

/// What the parts of a disk share.
struct Parts {
    health: Arc<Health>,
    tail_bytes: Arc<TailBytes>,
    loaded: Arc<Loaded>,
}

/// A data directory that is only looked at.
#[cfg(feature = "rocksdb")]
pub(crate) struct ReadOnly {
    pub(crate) raft: Rocks,
    pub(crate) data: Rocks,
    pub(crate) identity: NodeRecord,
    pub(crate) manifest: Manifest,
}

/// Opens a data directory to look at it: nothing in it is changed.
#[cfg(feature = "rocksdb")]
pub(crate) fn open_read_only(path: &Path) -> Result<ReadOnly, OpenError> {
    let lock = match DirLock::acquire_existing(path) {
        Ok(lock) => Arc::new(lock),
        Err(error) => return Err(lock_fault(path, error)),
    };
    let Found::Identity(identity) = identity::read(path)? else {
        return Err(OpenError::IdentityMissing { path: path.to_owned() });
    };
    OpenDisk::check_there(path, &identity)?;
    let mark = mark::read(path)?;
    let raft = open_database(path, Kind::Raft, Mode::ReadOnly, &lock)?;
    check_mark(path, mark.as_ref(), &raft)?;
    let data = open_database(path, Kind::Data, Mode::ReadOnly, &lock)?;
    let manifest = read_manifest(path, &raft)?;
    Ok(ReadOnly { raft, data, identity, manifest })
}

/// Looks at a database that may have lost something before it is opened for
/// writing, after which a log that is put back would be of no use.
#[cfg(feature = "rocksdb")]
fn look_first(
    path: &Path,
    identity: &NodeRecord,
    mark: &MarkRecord,
    lock: &Arc<DirLock>,
) -> Result<(), OpenError> {
    let directory = path.join(Kind::Raft.dir());
    if !mark::is_doubtful(mark, &directory) {
        return Ok(());
    }
    let raft = open_database(path, Kind::Raft, Mode::ReadOnly, lock)?;
    check_node(&raft, &directory, Table::LogMeta, &keys::raft_node(), identity)?;
    check_mark(path, Some(mark), &raft)
}

/// Checks that a database has all that it is known to have had.
#[cfg(feature = "rocksdb")]
fn check_mark(path: &Path, mark: Option<&MarkRecord>, raft: &Rocks) -> Result<(), OpenError> {
    let directory = path.join(Kind::Raft.dir());
    match mark {
        Some(mark) => mark::check(mark, raft, &directory),
        // One of a program that set no marks yet.
        None if opens(path, raft)? == 0 => Ok(()),
        None => Err(OpenError::DatabaseLost {
            path: directory,
            problem: "has lost the file raft.mark beside it, which says how much it must hold",
        }),
    }
}

/// How often a database was opened by a program that sets marks.
#[cfg(feature = "rocksdb")]
fn opens(path: &Path, raft: &Rocks) -> Result<u64, OpenError> {
    let directory = path.join(Kind::Raft.dir());
    let record = raft.get(Table::LogMeta, &keys::raft_opens());
    let record = record.map_err(|error| engine_fault(&directory, error))?;
    let opens = record.map_or(Ok(0), |record| decode_opens(&record));
    opens.map_err(|problem| OpenError::DatabaseDamaged {
        path: directory,
        problem: problem.to_string(),
    })
}

/// Makes the first write of this open, and marks it. The file is there before
/// the database says that it must be.
#[cfg(feature = "rocksdb")]
fn begin_marking(path: &Path, raft: &Arc<Rocks>) -> Result<Arc<Marker>, OpenError> {
    let directory = path.join(Kind::Raft.dir());
    let marker = Marker::new(path, Arc::clone(raft), directory.clone())
        .map_err(|source| mark_fault(path, source))?;
    let mut batch = Batch::default();
    batch.put(Table::LogMeta, keys::raft_opens(), encode_opens(opens(path, raft)? + 1));
    raft.write(&batch, Durability::Synced).map_err(|error| engine_fault(&directory, error))?;
    marker.mark().map_err(|source| mark_fault(path, source))?;
    Ok(Arc::new(marker))
}

#[cfg(feature = "rocksdb")]
fn mark_fault(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { action: "write", path: path.join(mark::FILE), source }
}

/// Says what is wrong with a lock.
pub(crate) fn lock_fault(path: &Path, error: LockError) -> OpenError {
    match error {
        LockError::Held => OpenError::Locked { path: path.to_owned() },
        LockError::Io(source) => OpenError::Io { action: "lock", path: path.to_owned(), source },
    }
}

#[cfg(feature = "rocksdb")]
fn open_database(
    path: &Path,
    kind: Kind,
    mode: Mode,
    lock: &Arc<DirLock>,
) -> Result<Rocks, OpenError> {
    let directory = path.join(kind.dir());
    Rocks::open(path, kind, mode, Arc::clone(lock)).map_err(|error| engine_fault(&directory, error))
}

/// Whose a database is.
enum Belongs {
    Here,
    Nowhere,
}

/// Databases that changed places would mix the logs of one disk with the states
/// of another.
fn check_node(
    engine: &dyn Engine,
    directory: &Path,
    table: Table,
    key: &[u8],
    identity: &NodeRecord,
) -> Result<Belongs, OpenError> {
    let record = engine.get(table, key).map_err(|error| engine_fault(directory, error))?;
    let Some(record) = record else { return Ok(Belongs::Nowhere) };
    match decode_node(&record) {
        Ok(node) if node.disk == identity.disk => Ok(Belongs::Here),
        Ok(_) => Err(OpenError::DatabaseLost {
            path: directory.to_owned(),
            problem: "belongs to another data directory",
        }),
        Err(CodecError::Newer { found, supported }) => {
            Err(OpenError::NewerFormat { path: directory.to_owned(), found, supported })
        }
        Err(problem) => Err(OpenError::DatabaseDamaged {
            path: directory.to_owned(),
            problem: problem.to_string(),
        }),
    }
}

fn read_manifest(path: &Path, raft: &dyn Read) -> Result<Manifest, OpenError> {
    Manifest::read(raft).map_err(|error| match error {
        ManifestError::Engine(error) => engine_fault(&path.join(Kind::Raft.dir()), error),
        ManifestError::Record(CodecError::Newer { found, supported }) => {
            OpenError::NewerFormat { path: path.to_owned(), found, supported }
        }
        ManifestError::Record(problem) => {
            OpenError::ManifestUnreadable { path: path.to_owned(), problem }
        }
    })
}

fn engine_fault(directory: &Path, error: EngineError) -> OpenError {
    let path = directory.to_owned();
    match error {
        EngineError::Damaged(problem) => OpenError::DatabaseDamaged { path, problem },
        EngineError::Disk(_) => {
            OpenError::Io { action: "open database", path, source: error.into() }
        }
    }
}
