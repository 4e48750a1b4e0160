//! Short names for entries with ops, and whole reads.

use bytes::Bytes;
use partition_store::PartitionState;
use partition_types::{Command, Crc32c, Entry, ExtentId, Op, Payload, RequestId};

use crate::fixture::log_id;

pub(crate) fn extent(id: u64) -> ExtentId {
    ExtentId::new(id).unwrap()
}

pub(crate) fn named(index: u64, request_id: Option<RequestId>, op: Op) -> Entry {
    let command = Command { request_id, at_ms: 1000 + index, op };
    Entry { log_id: log_id(2, index), payload: Payload::Command(command) }
}

pub(crate) fn at(index: u64, op: Op) -> Entry {
    named(index, None, op)
}

/// Bytes that differ by seed and position, and that do not compress.
pub(crate) fn bytes(seed: u64, len: usize) -> Bytes {
    let mut word = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(word ^ (word >> 29)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
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

pub(crate) fn delete(ids: impl IntoIterator<Item = u64>) -> Op {
    Op::Delete { extent_ids: ids.into_iter().map(extent).collect() }
}

/// All bytes of an extent.
pub(crate) async fn read(state: &PartitionState, id: u64) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let read = state.read(extent(id), whole.len() as u64, u64::MAX).await.unwrap();
        for frame in read.frames {
            assert_eq!(frame.crc32c, Crc32c::of(&frame.data));
            whole.extend_from_slice(&frame.data);
        }
        if whole.len() as u64 == read.size {
            return whole;
        }
    }
}
