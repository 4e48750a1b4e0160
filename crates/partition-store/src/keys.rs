//! Every key there is. One file owns all prefixes; bytes never change their
//! meaning, retired ones stay reserved, and golden files hold them to it.
//!
//! Numbers are big-endian, so that keys sort like what they stand for.
//!
//! | table | key | value |
//! |---|---|---|
//! | log | partition u64, index u64 | entry |
//! | log_meta | `b`, partition u64 | bounds of the log |
//! | log_meta | `c`, partition u64 | commit index |
//! | log_meta | `l`, partition u64, index u64 | first entry of a leader |
//! | log_meta | `m`, partition u64 | manifest record |
//! | log_meta | `n` | node record: whose database this is |
//! | log_meta | `o` | how often the database was opened |
//! | log_meta | `v`, partition u64 | vote |
//! | state_meta | partition u64, 0 u32, `g` | pointer to the current generation |
//! | state_meta | partition u64, generation u32, `e`, extent u64 | extent |
//! | state_meta | partition u64, generation u32, `q`, request id | outcome |
//! | state_meta | partition u64, generation u32, `r`, extent u64, offset u64 | run |
//! | state_meta | partition u64, generation u32, `s` | state |
//! | state_meta | partition u64, generation u32, `t`, log index u64 | request |
//! | state_meta | partition u64, generation u32, `u`, extent u64 | staged extent |
//! | state_meta | 0 u64, 0 u32, `n` | node record: whose database this is |
//! | chunk | partition u64, generation u32, extent u64, chunk u64 | payload |
//!
//! Partition ids and generations begin at 1, so 0 is free for what belongs to
//! none.

use std::ops::Range;

use partition_types::{ExtentId, PartitionId, RequestId};

use crate::codec::CodecError;

const BOUNDS: u8 = b'b';
const COMMITTED: u8 = b'c';
const LEADER: u8 = b'l';
const MANIFEST: u8 = b'm';
const NODE: u8 = b'n';
const OPENS: u8 = b'o';
const VOTE: u8 = b'v';

const EXTENT: u8 = b'e';
const GENERATION: u8 = b'g';
const OUTCOME: u8 = b'q';
const RUN: u8 = b'r';
const STATE: u8 = b's';
const REQUEST: u8 = b't';
const STAGED: u8 = b'u';

/// The generation that only the pointer to the current one stands under.
const NO_GENERATION: u32 = 0;

/// Length of `partition u64, generation u32`.
const SPACE_LEN: usize = 12;

/// An entry of a log.
pub(crate) fn log_entry(id: PartitionId, index: u64) -> Vec<u8> {
    join(&[&id.get().to_be_bytes(), &index.to_be_bytes()])
}

/// The entries of a log from one index on, up to and not including another.
pub(crate) fn log_entries(id: PartitionId, indexes: Range<u64>) -> Range<Vec<u8>> {
    log_entry(id, indexes.start)..log_entry(id, indexes.end)
}

/// The entries of a log from one index on.
pub(crate) fn log_entries_from(id: PartitionId, index: u64) -> Range<Vec<u8>> {
    log_entry(id, index)..after_prefix(&id.get().to_be_bytes())
}

/// The index of an entry's key.
pub(crate) fn index_of_log_entry(key: &[u8]) -> Result<u64, CodecError> {
    let (_, index) = key.split_at_checked(8).ok_or(CodecError::Truncated)?;
    number(index)
}

/// The bounds of a log.
pub(crate) fn bounds(id: PartitionId) -> Vec<u8> {
    log_meta(BOUNDS, id)
}

/// The commit index of a log.
pub(crate) fn committed(id: PartitionId) -> Vec<u8> {
    log_meta(COMMITTED, id)
}

/// The first entry of a leader in a log.
pub(crate) fn leader(id: PartitionId, index: u64) -> Vec<u8> {
    join(&[&log_meta(LEADER, id), &index.to_be_bytes()])
}

/// The first entries of leaders from one index on, up to and not including another.
pub(crate) fn leaders(id: PartitionId, indexes: Range<u64>) -> Range<Vec<u8>> {
    leader(id, indexes.start)..leader(id, indexes.end)
}

/// The first entries of leaders from one index on.
pub(crate) fn leaders_from(id: PartitionId, index: u64) -> Range<Vec<u8>> {
    leader(id, index)..after_prefix(&log_meta(LEADER, id))
}

/// The index of a leader's key.
pub(crate) fn index_of_leader(key: &[u8]) -> Result<u64, CodecError> {
    last_number(key, 1 + 8)
}

/// The vote of a replica.
pub(crate) fn vote(id: PartitionId) -> Vec<u8> {
    log_meta(VOTE, id)
}

/// A partition's record in the manifest.
pub(crate) fn manifest(id: PartitionId) -> Vec<u8> {
    log_meta(MANIFEST, id)
}

/// All records of the manifest.
pub(crate) fn manifest_all() -> Range<Vec<u8>> {
    vec![MANIFEST]..vec![MANIFEST + 1]
}

/// The partition of a manifest record's key.
pub(crate) fn partition_of_manifest(key: &[u8]) -> Result<PartitionId, CodecError> {
    let (_, id) = key.split_at_checked(1).ok_or(CodecError::Truncated)?;
    PartitionId::new(number(id)?).map_err(|_| CodecError::Invalid("partition id"))
}

/// The node record of `raft/`.
pub(crate) fn raft_node() -> Vec<u8> {
    vec![NODE]
}

/// How often `raft/` was opened.
pub(crate) fn raft_opens() -> Vec<u8> {
    vec![OPENS]
}

/// The node record of `data/`.
pub(crate) fn data_node() -> Vec<u8> {
    join(&[&[0; SPACE_LEN], &[NODE]])
}

/// Which generation of a partition's state is the current one.
pub(crate) fn generation_pointer(id: PartitionId) -> Vec<u8> {
    join(&[&space(id, NO_GENERATION), &[GENERATION]])
}

/// Everything of a partition in a table of `data/`, the pointer included.
pub(crate) fn partition_data(id: PartitionId) -> Range<Vec<u8>> {
    let prefix = id.get().to_be_bytes();
    prefix.to_vec()..after_prefix(&prefix)
}

/// Everything of all partitions in a table of `data/`.
pub(crate) fn all_data() -> Range<Vec<u8>> {
    Vec::new()..after_prefix(&[])
}

/// Everything of one generation in a table of `data/`.
pub(crate) fn generation_data(id: PartitionId, generation: u32) -> Range<Vec<u8>> {
    let prefix = space(id, generation);
    prefix.to_vec()..after_prefix(&prefix)
}

/// Everything of the generations from one on in a table of `data/`.
pub(crate) fn generations_from(id: PartitionId, generation: u32) -> Range<Vec<u8>> {
    space(id, generation).to_vec()..after_prefix(&id.get().to_be_bytes())
}

/// The generation of a key in a table of `data/`.
pub(crate) fn generation_of(key: &[u8]) -> Result<u32, CodecError> {
    let bytes = key.get(8..SPACE_LEN).ok_or(CodecError::Truncated)?;
    Ok(u32::from_be_bytes(bytes.try_into().map_err(|_| CodecError::Truncated)?))
}

/// The state record.
pub(crate) fn state(id: PartitionId, generation: u32) -> Vec<u8> {
    state_meta(id, generation, STATE, &[])
}

/// A visible extent.
pub(crate) fn extent(id: PartitionId, generation: u32, extent_id: u64) -> Vec<u8> {
    state_meta(id, generation, EXTENT, &[&extent_id.to_be_bytes()])
}

/// The visible extents from an id on.
pub(crate) fn extents_from(id: PartitionId, generation: u32, extent_id: u64) -> Range<Vec<u8>> {
    extent(id, generation, extent_id)..state_meta(id, generation, EXTENT + 1, &[])
}

/// A staged extent.
pub(crate) fn staged(id: PartitionId, generation: u32, extent_id: u64) -> Vec<u8> {
    state_meta(id, generation, STAGED, &[&extent_id.to_be_bytes()])
}

/// The staged extents from an id on.
pub(crate) fn staged_from(id: PartitionId, generation: u32, extent_id: u64) -> Range<Vec<u8>> {
    staged(id, generation, extent_id)..state_meta(id, generation, STAGED + 1, &[])
}

/// The extent of a key of a visible or staged one.
pub(crate) fn extent_of(key: &[u8]) -> Result<ExtentId, CodecError> {
    let id = last_number(key, SPACE_LEN + 1)?;
    ExtentId::new(id).map_err(|_| CodecError::Invalid("extent id"))
}

/// A run of an extent.
pub(crate) fn run(id: PartitionId, generation: u32, extent_id: ExtentId, offset: u64) -> Vec<u8> {
    state_meta(id, generation, RUN, &[&extent_id.get().to_be_bytes(), &offset.to_be_bytes()])
}

/// All runs of an extent.
pub(crate) fn runs(id: PartitionId, generation: u32, extent_id: ExtentId) -> Range<Vec<u8>> {
    let prefix = state_meta(id, generation, RUN, &[&extent_id.get().to_be_bytes()]);
    let end = after_prefix(&prefix);
    prefix..end
}

/// The offset of a run's key.
pub(crate) fn offset_of_run(key: &[u8]) -> Result<u64, CodecError> {
    last_number(key, SPACE_LEN + 1 + 8)
}

/// The outcome of a request.
pub(crate) fn outcome(id: PartitionId, generation: u32, request_id: &RequestId) -> Vec<u8> {
    state_meta(id, generation, OUTCOME, &[request_id.as_bytes()])
}

/// The request that an entry carried.
pub(crate) fn request(id: PartitionId, generation: u32, index: u64) -> Vec<u8> {
    state_meta(id, generation, REQUEST, &[&index.to_be_bytes()])
}

/// The requests of the entries from an index on.
pub(crate) fn requests_from(id: PartitionId, generation: u32, index: u64) -> Range<Vec<u8>> {
    request(id, generation, index)..state_meta(id, generation, REQUEST + 1, &[])
}

/// The log index of a request's key.
pub(crate) fn index_of_request(key: &[u8]) -> Result<u64, CodecError> {
    last_number(key, SPACE_LEN + 1)
}

/// A chunk of an extent's payload.
pub(crate) fn chunk(
    id: PartitionId,
    generation: u32,
    extent_id: ExtentId,
    chunk_id: u64,
) -> Vec<u8> {
    join(&[&space(id, generation), &extent_id.get().to_be_bytes(), &chunk_id.to_be_bytes()])
}

/// All chunks of an extent.
pub(crate) fn chunks(id: PartitionId, generation: u32, extent_id: ExtentId) -> Range<Vec<u8>> {
    let prefix = join(&[&space(id, generation), &extent_id.get().to_be_bytes()]);
    let end = after_prefix(&prefix);
    prefix..end
}

/// The chunk id of a chunk's key.
pub(crate) fn chunk_of(key: &[u8]) -> Result<u64, CodecError> {
    last_number(key, SPACE_LEN + 8)
}

fn log_meta(kind: u8, id: PartitionId) -> Vec<u8> {
    join(&[&[kind], &id.get().to_be_bytes()])
}

fn space(id: PartitionId, generation: u32) -> [u8; SPACE_LEN] {
    let mut bytes = [0; SPACE_LEN];
    bytes[..8].copy_from_slice(&id.get().to_be_bytes());
    bytes[8..].copy_from_slice(&generation.to_be_bytes());
    bytes
}

fn state_meta(id: PartitionId, generation: u32, kind: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(SPACE_LEN + 1 + 16);
    key.extend_from_slice(&space(id, generation));
    key.push(kind);
    for part in rest {
        key.extend_from_slice(part);
    }
    key
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The least key that is above all keys with the prefix.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // All bytes are 255, and no key is as long as this one.
    vec![u8::MAX; 64]
}

fn number(bytes: &[u8]) -> Result<u64, CodecError> {
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| CodecError::Truncated)?))
}

fn last_number(key: &[u8], at: usize) -> Result<u64, CodecError> {
    number(key.get(at..).ok_or(CodecError::Truncated)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next() {
        let check = |prefix: &[u8], end: &[u8]| assert_eq!(after_prefix(prefix), end);
        check(&[0, 1], &[0, 2]);
        check(&[0, 255], &[1]);
        check(&[7, 255, 255], &[8]);
        check(&[255, 255], &[255; 64]);
    }

    #[test]
    fn the_last_partition_has_an_end() {
        let id = PartitionId::new(u64::MAX).unwrap();
        let all = partition_data(id);
        let extent_id = ExtentId::new(u64::MAX).unwrap();
        let last = chunk(id, u32::MAX, extent_id, u64::MAX);
        assert!(all.contains(&last));
        assert!(log_entries_from(id, 0).contains(&log_entry(id, u64::MAX)));
        assert!(!partition_data(PartitionId::new(u64::MAX - 1).unwrap()).contains(&last));
    }
}
