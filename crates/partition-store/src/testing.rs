//! What the unit tests of states and snapshots share: a disk in memory around
//! a partition, and short names for entries.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parking_lot::Mutex;
use partition_types::{
    Command, Crc32c, Entry, ExtentId, LogId, NodeId, Op, Outcome, PartitionId, Payload, RequestId,
};

use crate::blocking::Pools;
use crate::check::{CheckError, Checked, Verify, check_partition};
use crate::codec::{self, Bounds};
use crate::engine::image::Image;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Batch, Durability, Engine, Read, Table};
use crate::keys;
use crate::state::{Flusher, PartitionState, StateError};

/// One set of threads for all tests.
static POOLS: LazyLock<Arc<Pools>> =
    LazyLock::new(|| Arc::new(Pools::start(0).expect("threads can be made")));

pub(crate) fn partition(id: u64) -> PartitionId {
    PartitionId::new(id).expect("above 0")
}

pub(crate) fn extent(id: u64) -> ExtentId {
    ExtentId::new(id).expect("above 0")
}

pub(crate) fn request(id: u8) -> RequestId {
    RequestId::from_bytes([id; 16])
}

pub(crate) fn log_id(index: u64) -> LogId {
    LogId { term: 3, leader: NodeId::new(1).ok(), index }
}

pub(crate) fn entry(index: u64, payload: Payload) -> Entry {
    Entry { log_id: log_id(index), payload }
}

/// An entry with an op of nobody in particular, at time 0.
pub(crate) fn op(index: u64, op: Op) -> Entry {
    command(index, None, 0, op)
}

pub(crate) fn command(index: u64, request_id: Option<RequestId>, at_ms: u64, op: Op) -> Entry {
    entry(index, Payload::Command(Command { request_id, at_ms, op }))
}

/// The same entry, as another leader would have proposed it in another term.
pub(crate) fn led_by(term: u64, node: u64, entry: Entry) -> Entry {
    let log_id = LogId { term, leader: NodeId::new(node).ok(), ..entry.log_id };
    Entry { log_id, ..entry }
}

/// Bytes that differ by seed and position.
pub(crate) fn bytes(seed: u8, len: usize) -> Bytes {
    let skipped = 7 * usize::from(seed);
    (0..=250u8).cycle().skip(skipped).map(|b| b ^ seed).take(len).collect::<Vec<_>>().into()
}

pub(crate) fn put(data: &Bytes) -> Op {
    Op::Put { data: data.clone(), crc32c: Crc32c::of(data) }
}

pub(crate) fn append(id: u64, data: &Bytes) -> Op {
    Op::Append { extent_id: extent(id), data: data.clone(), crc32c: Crc32c::of(data) }
}

pub(crate) fn write(id: u64, offset: u64, data: &Bytes) -> Op {
    let crc32c = Crc32c::of(data);
    Op::Write { extent_id: extent(id), offset, data: data.clone(), crc32c }
}

pub(crate) fn stage_part(id: u64, offset: u64, data: &Bytes) -> Op {
    let crc32c = Crc32c::of(data);
    Op::StagePart { extent_id: extent(id), offset, data: data.clone(), crc32c }
}

pub(crate) fn publish(id: u64, whole: &[u8]) -> Op {
    let (size, crc32c) = (whole.len() as u64, Crc32c::of(whole));
    Op::Publish { extent_id: extent(id), size, crc32c }
}

pub(crate) fn delete(ids: &[u64]) -> Op {
    Op::Delete { extent_ids: ids.iter().copied().map(extent).collect() }
}

/// A disk that flushes when it is told to.
pub(crate) struct TestDisk {
    engine: Arc<MemoryEngine>,
    states: Mutex<Vec<PartitionState>>,
    pub(crate) applied_bytes: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    pub(crate) is_failing: AtomicBool,
}

impl TestDisk {
    /// Lets go of the states, which hold the disk.
    pub(crate) fn forget(&self) {
        self.states.lock().clear();
    }
}

impl Flusher for TestDisk {
    fn applied(&self, bytes: u64) {
        self.applied_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn freed(&self, bytes: u64) {
        self.freed_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn flush(&self) -> io::Result<()> {
        if self.is_failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("told to fail"));
        }
        let states = self.states.lock().clone();
        let applied: Vec<_> = states.iter().map(PartitionState::applied).collect();
        self.engine.flush()?;
        for (state, applied) in states.iter().zip(applied) {
            state.mark_durable(applied);
        }
        Ok(())
    }
}

/// A partition on a disk in memory.
pub(crate) struct Rig {
    pub(crate) engine: Arc<MemoryEngine>,
    pub(crate) disk: Arc<TestDisk>,
    pub(crate) state: PartitionState,
}

impl Rig {
    /// Partition 7 on an empty disk.
    pub(crate) fn new() -> Self {
        Self::open(Image::default()).expect("nothing is damaged")
    }

    /// Partition 7 on what an earlier rig left.
    pub(crate) fn open(image: Image) -> Result<Self, StateError> {
        let engine = MemoryEngine::open(image);
        let disk = Arc::new(TestDisk {
            engine: Arc::clone(&engine),
            states: Mutex::default(),
            applied_bytes: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        });
        let dynamic: Arc<dyn Engine> = Arc::clone(&engine) as Arc<dyn Engine>;
        let flusher: Arc<dyn Flusher> = Arc::clone(&disk) as Arc<dyn Flusher>;
        let state = PartitionState::open(partition(7), dynamic, flusher, Arc::clone(&POOLS))?;
        disk.states.lock().push(state.clone());
        Ok(Self { engine, disk, state })
    }

    /// Applies ops as the next entries, in one call.
    pub(crate) async fn apply(&self, ops: impl IntoIterator<Item = Op>) -> Vec<Outcome> {
        let next = self.state.applied().map_or(0, |log_id| log_id.index + 1);
        let entries = (next..).zip(ops).map(|(index, o)| op(index, o)).collect();
        self.state.apply(entries).await.expect("entries apply")
    }

    /// All bytes of a visible extent.
    pub(crate) async fn read(&self, id: u64) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            let offset = whole.len() as u64;
            let read = self.state.read(extent(id), offset, u64::MAX).await.expect("it is there");
            if read.frames.is_empty() {
                assert_eq!(read.size, offset);
                return whole;
            }
            for frame in read.frames {
                assert_eq!(frame.offset, whole.len() as u64);
                assert_eq!(frame.crc32c, Crc32c::of(&frame.data));
                whole.extend_from_slice(&frame.data);
            }
        }
    }

    /// Checks the partition as if its log were purged up to what is applied.
    pub(crate) fn check(&self, verify: Verify) -> Result<Checked, CheckError> {
        check_state(self.engine.as_ref(), self.state.applied(), verify)
    }
}

/// Checks partition 7 as if its log were purged up to `applied`.
pub(crate) fn check_state(
    data: &dyn Read,
    applied: Option<LogId>,
    verify: Verify,
) -> Result<Checked, CheckError> {
    let raft = MemoryEngine::open(Image::default());
    let mut batch = Batch::default();
    let bounds = Bounds { purged: applied, ..Bounds::default() };
    batch.put(Table::LogMeta, keys::bounds(partition(7)), codec::encode_bounds(&bounds));
    raft.write(&batch, Durability::Synced)?;
    check_partition(raft.as_ref(), data, partition(7), verify)
}
