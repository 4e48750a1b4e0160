//! How much a log database is known to hold: the file `raft.mark` beside it.
//!
//! RocksDB takes a write-ahead log that ends early, or is not there, for one
//! that was never written: all that was acknowledged since the last flush would
//! be gone without a word, the list of partitions included. So the number of the
//! last durable change is kept outside the database. An open that finds fewer
//! changes refuses.
//!
//! The mark follows the log: it is set when a database is opened (whose first
//! write is a record of that, so that the newest log always has something to
//! lose), with every change of the manifest, before that is acknowledged, about
//! once a second while there are writes and a second after the last one, and when
//! the database is closed. So what may still go unnoticed is the loss of the last
//! second before a crash, when the log is cut off there and nowhere earlier.
//!
//! Two slots are written in turn, a page apart: of a torn write the other one
//! is left.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::codec::{CodecError, MARK_LEN, MarkRecord, decode_mark, encode_mark};
use crate::engine::rocks::Rocks;
use crate::error::OpenError;
use crate::identity::sync_dir;

/// The file's name, in the data directory.
pub(crate) const FILE: &str = "raft.mark";
/// What it is called until it is whole.
const UNFINISHED: &str = "raft.mark.new";
/// From one slot to the next, in bytes.
const SLOT_DISTANCE: usize = 4096;

/// Reads the mark of a data directory; `None` if it never had one.
///
/// # Errors
/// [`OpenError`] when it is there and cannot be read.
pub(crate) fn read(dir: &Path) -> Result<Option<MarkRecord>, OpenError> {
    let path = dir.join(FILE);
    let file = match fs::read(&path) {
        Ok(file) => Bytes::from(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { action: "read", path, source }),
    };
    let slot = |from: usize| {
        let slot = file.get(from..from + MARK_LEN).ok_or(CodecError::Truncated)?;
        decode_mark(&file.slice_ref(slot))
    };
    match (slot(0), slot(SLOT_DISTANCE)) {
        (Ok(a), Ok(b)) => Ok(Some(if a.sequence < b.sequence { b } else { a })),
        (Ok(mark), Err(_)) | (Err(_), Ok(mark)) => Ok(Some(mark)),
        (Err(CodecError::Newer { found, supported }), Err(_))
        | (Err(_), Err(CodecError::Newer { found, supported })) => {
            Err(OpenError::NewerFormat { path: dir.to_owned(), found, supported })
        }
        (Err(problem), Err(_)) => {
            Err(OpenError::DatabaseDamaged { path, problem: problem.to_string() })
        }
    }
}

/// Whether the log that was the newest one at the mark is not there as it was.
/// It is flushed away in the end, so this alone says nothing: one has to look.
pub(crate) fn is_doubtful(mark: &MarkRecord, raft: &Path) -> bool {
    let wal = raft.join(format!("{:06}.log", mark.wal_number));
    fs::metadata(wal).map_or(true, |wal| wal.len() < mark.wal_len)
}

/// Compares a database with its mark.
///
/// # Errors
/// When it has less than it had.
pub(crate) fn check(mark: &MarkRecord, raft: &Rocks, directory: &Path) -> Result<(), OpenError> {
    let found = raft.sequence();
    if found >= mark.sequence {
        return Ok(());
    }
    let lost = mark.sequence - found;
    let MarkRecord { wal_number, .. } = mark;
    Err(OpenError::DatabaseDamaged {
        path: directory.to_owned(),
        problem: format!(
            "its last {lost} durable changes are gone: its write-ahead log, {wal_number:06}.log or \
             a later one, was cut short or taken away; if it can be put back, do"
        ),
    })
}

/// Sets the mark of a database that is open.
pub(crate) struct Marker {
    raft: Arc<Rocks>,
    directory: PathBuf,
    writing: Mutex<Writing>,
}

struct Writing {
    file: File,
    /// Whether the second slot is the next to write.
    is_second_next: bool,
}

impl Marker {
    /// Makes the file if it is not there, and sets the mark.
    pub(crate) fn new(dir: &Path, raft: Arc<Rocks>, directory: PathBuf) -> io::Result<Self> {
        let path = dir.join(FILE);
        if !path.exists() {
            let mark = encode_mark(&mark_of(&raft, &directory)?);
            let unfinished = dir.join(UNFINISHED);
            let file = File::create(&unfinished)?;
            file.write_all_at(&mark, 0)?;
            file.write_all_at(&mark, SLOT_DISTANCE as u64)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_dir(dir)?;
        }
        let file = File::options().write(true).open(&path)?;
        let writing = Mutex::new(Writing { file, is_second_next: false });
        let marker = Self { raft, directory, writing };
        marker.mark()?;
        Ok(marker)
    }

    /// Sets the mark to what the database has. All of it must be durable.
    /// Blocks for a sync.
    pub(crate) fn mark(&self) -> io::Result<()> {
        let mut writing = self.writing.lock();
        let mark = mark_of(&self.raft, &self.directory)?;
        let at = if writing.is_second_next { SLOT_DISTANCE as u64 } else { 0 };
        writing.file.write_all_at(&encode_mark(&mark), at)?;
        writing.file.sync_data()?;
        writing.is_second_next = !writing.is_second_next;
        Ok(())
    }
}

fn mark_of(raft: &Rocks, directory: &Path) -> io::Result<MarkRecord> {
    let sequence = raft.sequence();
    let mut newest = (0, 0);
    for file in fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
        let Some(number) = number.filter(|number| *number > newest.0) else { continue };
        match file.metadata() {
            Ok(metadata) => newest = (number, metadata.len()),
            // It was flushed away just now; a newer one is on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(MarkRecord { sequence, wal_number: newest.0, wal_len: newest.1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Batch, Durability, Engine, Kind, Mode, Table};
    use crate::keys;
    use crate::lock::DirLock;
    use crate::{DiskConfig, Store, StoreConfig};

    #[test]
    fn a_directory_of_a_program_that_set_no_marks_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            Store::open(StoreConfig {
                cluster_id: "test".parse().unwrap(),
                node_id: partition_types::NodeId::new(1).unwrap(),
                disks: vec![DiskConfig { path: dir.path().to_owned(), reserve_bytes: 0 }],
                accept_lost_disk: false,
                inject_load_delay: Vec::new(),
            })
        };
        open().unwrap().close().unwrap();
        fs::remove_file(dir.path().join(FILE)).unwrap();
        assert_eq!(open().err().unwrap().exit_code(), 18, "it had one");
        let lock = Arc::new(DirLock::acquire(dir.path()).ok().unwrap());
        let raft = Rocks::open(dir.path(), Kind::Raft, Mode::Existing, lock).unwrap();
        let mut batch = Batch::default();
        batch.delete(Table::LogMeta, keys::raft_opens());
        raft.write(&batch, Durability::Synced).unwrap();
        drop(raft);
        open().unwrap().close().unwrap();
        assert!(read(dir.path()).unwrap().is_some());
    }
}
