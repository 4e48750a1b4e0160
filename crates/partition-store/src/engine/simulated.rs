//! A disk in memory that outlives the node on it, for a simulator: it knows what
//! was synced, and a power cut takes the rest. No files, no threads, no clock.
//!
//! It is the same engine as RocksDB as far as its user can tell, which a test
//! beside this one proves on random histories with crashes in them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::image::{Content, Image, Key, bounds};
use super::{Batch, Change, Durability, Engine, EngineError, Kind, Read, Table, Visit};
use crate::codec::NodeRecord;

/// A data directory in memory. Clones are one disk, and it stays when the store
/// on it is gone: a simulator holds one for each disk of its nodes.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Inner>>,
}

/// What a power cut took, in writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Of logs and votes.
    pub log_writes: usize,
    /// Of the partitions' states.
    pub state_writes: usize,
}

#[derive(Default)]
struct Inner {
    identity: Option<NodeRecord>,
    raft: Database,
    data: Database,
    /// Which power-on this is: who opened the disk in an earlier one is dead.
    life: u64,
    /// Where the sequence of waits stands.
    pace: u64,
}

#[derive(Default)]
struct Database {
    content: Arc<Content>,
    /// For each write that is not synced: what was there before it.
    unsynced: Vec<Vec<(Key, Option<Bytes>)>>,
}

impl std::fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.shared.lock();
        write!(f, "MemoryDisk(life {})", inner.life)
    }
}

impl MemoryDisk {
    /// An empty disk. `seed` decides how long its reads and syncs take.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.shared.lock().pace = seed;
        disk
    }

    /// Cuts the power: nothing that is open on the disk can write any more, and
    /// of the writes that were not synced only the first ones stay, as many as
    /// `keep` says when it is told how many there are.
    pub fn cut(&self, mut keep: impl FnMut(usize) -> usize) -> Lost {
        let mut inner = self.shared.lock();
        inner.life += 1;
        let Inner { raft, data, .. } = &mut *inner;
        let [log_writes, state_writes] = [raft, data].map(|database| {
            let unsynced = database.unsynced.len();
            let kept = keep(unsynced).min(unsynced);
            database.undo(kept);
            unsynced - kept
        });
        Lost { log_writes, state_writes }
    }

    pub(crate) fn identity(&self) -> Option<NodeRecord> {
        self.shared.lock().identity.clone()
    }

    /// Durable at once, as the file of that name is.
    pub(crate) fn set_identity(&self, identity: NodeRecord) {
        self.shared.lock().identity = Some(identity);
    }

    pub(crate) fn open(&self, kind: Kind) -> MemoryEngine {
        MemoryEngine { disk: self.clone(), kind, life: self.shared.lock().life }
    }

    /// How long the next read takes: nearly nothing, mostly.
    pub(crate) fn read_time(&self) -> Duration {
        match self.draw() % 64 {
            0 => Duration::from_millis(20),
            1..=15 => Duration::from_millis(1),
            _ => Duration::ZERO,
        }
    }

    /// How long the next half of a synced write takes. Now and then the disk
    /// stalls.
    pub(crate) fn sync_time(&self) -> Duration {
        match self.draw() % 256 {
            0 => Duration::from_millis(150),
            1..=8 => Duration::from_millis(25),
            n => Duration::from_millis(n % 4),
        }
    }

    /// A number by chance, the same for the same seed (SplitMix64).
    fn draw(&self) -> u64 {
        let mut inner = self.shared.lock();
        inner.pace = inner.pace.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (inner.pace ^ (inner.pace >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Inner {
    fn database(&mut self, kind: Kind) -> &mut Database {
        match kind {
            Kind::Raft => &mut self.raft,
            Kind::Data => &mut self.data,
        }
    }
}

impl Database {
    fn write(&mut self, batch: &Batch) {
        let content = Arc::make_mut(&mut self.content);
        let mut before = Vec::new();
        for change in batch.changes() {
            match change {
                Change::Put { table, key, value } => {
                    let mut bytes = Vec::with_capacity(value.len());
                    value.write_to(&mut bytes);
                    let key = (*table, key.clone());
                    let old = content.insert(key.clone(), bytes.into());
                    before.push((key, old));
                }
                Change::Delete { table, key } => {
                    let key = (*table, key.clone());
                    let old = content.remove(&key);
                    before.push((key, old));
                }
                Change::DeleteRange { table, from, to } => {
                    let range = bounds(*table, from, to);
                    let keys: Vec<Key> = content.range(range).map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        let old = content.remove(&key);
                        before.push((key, old));
                    }
                }
            }
        }
        self.unsynced.push(before);
    }

    fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// Takes back all unsynced writes but the first `kept`.
    fn undo(&mut self, kept: usize) {
        let content = Arc::make_mut(&mut self.content);
        for before in self.unsynced.drain(kept..).rev() {
            for (key, old) in before.into_iter().rev() {
                match old {
                    Some(value) => drop(content.insert(key, value)),
                    None => drop(content.remove(&key)),
                }
            }
        }
        self.sync();
    }
}

/// One database of a [`MemoryDisk`], as one life of a node has it open.
pub(crate) struct MemoryEngine {
    disk: MemoryDisk,
    kind: Kind,
    life: u64,
}

impl MemoryEngine {
    fn view(&self) -> Image {
        Image(Arc::clone(&self.disk.shared.lock().database(self.kind).content))
    }

    fn living(&self, inner: &Inner) -> Result<(), EngineError> {
        if inner.life == self.life {
            return Ok(());
        }
        Err(EngineError::Disk("the power was cut".into()))
    }
}

impl Read for MemoryEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.view().get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.view().scan(table, range, visit)
    }

    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.view().scan_back(table, range, visit)
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let mut inner = self.disk.shared.lock();
        self.living(&inner)?;
        let database = inner.database(self.kind);
        database.write(batch);
        if durability == Durability::Synced {
            database.sync();
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        let mut inner = self.disk.shared.lock();
        self.living(&inner)?;
        inner.database(self.kind).sync();
        Ok(())
    }

    fn reclaim(&self, _: Table, _: Range<&[u8]>) -> Result<(), EngineError> {
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn Read + '_> {
        Box::new(self.view())
    }
}
