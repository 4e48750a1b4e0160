//! The grammar of an incoming stream, checked item by item; what is good
//! becomes records of a staged generation.
//!
//! Nothing of the stream is trusted: neither its order, nor that chunks are
//! what the runs say, nor that the counters add up.

use std::mem;

use bytes::{Buf, Bytes};
use partition_types::{Crc32c, ExtentId};

use super::format::{self, Kind, Refused};
use super::item::Item;
use crate::codec;
use crate::engine::{Batch, Table};
use crate::state::{Audit, ExtentRecord, RunRecord, Space, StateRecord, Visibility};

/// What comes next.
enum Expected {
    Header,
    Records,
    Nothing,
}

/// An extent whose runs are coming.
struct Open {
    id: ExtentId,
    visibility: Visibility,
    audit: Audit,
    /// The run whose chunk must be the next item.
    chunk_of: Option<RunRecord>,
}

/// The stream so far.
pub(super) struct Receiver {
    space: Space,
    expected: Expected,
    number: u32,
    state: StateRecord,
    /// Counted as the state record counts them.
    found: StateRecord,
    open: Option<Open>,
    last_request: Option<u64>,
    item_count: u64,
    batch: Batch,
    batch_len: usize,
}

impl Receiver {
    pub(super) fn new(space: Space) -> Self {
        Self {
            space,
            expected: Expected::Header,
            number: 0,
            state: StateRecord::empty(),
            found: StateRecord::empty(),
            open: None,
            last_request: None,
            item_count: 0,
            batch: Batch::default(),
            batch_len: 0,
        }
    }

    /// Takes the next chunk of the stream.
    pub(super) fn take(&mut self, chunk: Bytes) -> Result<(), Refused> {
        let (kind, payload) = format::decode(chunk, self.number)?;
        match (&self.expected, kind) {
            (Expected::Header, Kind::Header) => self.take_header(payload)?,
            (Expected::Records, Kind::Records) => self.take_records(payload)?,
            (Expected::Records, Kind::Trailer) => self.take_trailer(payload)?,
            _ => return Err(self.out_of_place("it is not its turn")),
        }
        self.number += 1;
        Ok(())
    }

    /// The records since the last call, and about how many bytes they have.
    pub(super) fn take_batch(&mut self) -> (Batch, usize) {
        (mem::take(&mut self.batch), mem::take(&mut self.batch_len))
    }

    /// How large the batch has become.
    pub(super) fn batch_len(&self) -> usize {
        self.batch_len
    }

    /// The state that the stream brought, when it is complete.
    pub(super) fn finish(&self) -> Result<StateRecord, Refused> {
        match self.expected {
            Expected::Nothing => Ok(self.state.clone()),
            Expected::Header | Expected::Records => Err(self.out_of_place("the stream was cut")),
        }
    }

    fn take_header(&mut self, mut payload: Bytes) -> Result<(), Refused> {
        let partition_id = payload.try_get_u64_le().map_err(|_| self.damaged("header"))?;
        if partition_id != self.space.partition_id.get() {
            return Err(Refused::OtherPartition(partition_id));
        }
        self.state = codec::decode_state(&payload).map_err(|_| self.damaged("header"))?;
        if self.state.applied.is_none() {
            return Err(self.damaged("a snapshot of nothing"));
        }
        self.expected = Expected::Records;
        Ok(())
    }

    fn take_records(&mut self, mut payload: Bytes) -> Result<(), Refused> {
        while !payload.is_empty() {
            let item = Item::decode(&mut payload).ok_or_else(|| self.damaged("item"))?;
            self.item_count += 1;
            self.take_item(item).map_err(|problem| self.out_of_place(problem))?;
        }
        Ok(())
    }

    fn take_item(&mut self, item: Item) -> Result<(), &'static str> {
        let awaits_chunk = self.open.as_ref().is_some_and(|open| open.chunk_of.is_some());
        match item {
            Item::Chunk(bytes) => self.take_chunk(bytes),
            _ if awaits_chunk => Err("a run has no chunk"),
            Item::Extent { visibility, id, extent } => self.take_extent(visibility, id, extent),
            Item::Run { offset, run } => self.take_run(offset, run),
            Item::Request { index, request, outcome } => {
                self.close_extent()?;
                if self.last_request.is_some_and(|last| last >= index) {
                    return Err("requests are out of order");
                }
                self.last_request = Some(index);
                self.found.request_count += 1;
                let key = self.space.outcome(&request.request_id);
                self.put(Table::StateMeta, key, codec::encode_outcome(&outcome));
                let key = self.space.request(index);
                self.put(Table::StateMeta, key, codec::encode_request(&request));
                Ok(())
            }
        }
    }

    fn take_extent(
        &mut self,
        visibility: Visibility,
        id: ExtentId,
        extent: ExtentRecord,
    ) -> Result<(), &'static str> {
        let last = self.open.as_ref().map(|open| (open.visibility, open.id));
        self.close_extent()?;
        let is_late = self.last_request.is_some();
        if is_late || last.is_some_and(|last| last >= (visibility, id)) {
            return Err("extents are out of order");
        }
        if id.get() >= self.state.next_extent_id {
            return Err("an extent id was never given out");
        }
        match visibility {
            Visibility::Visible => self.found.extent_count += 1,
            Visibility::Staged => self.found.staged_count += 1,
        }
        let size_bytes = self.found.size_bytes.checked_add(extent.stored_bytes);
        self.found.size_bytes = size_bytes.ok_or("extents are impossibly large")?;
        let audit = Audit::new(visibility, extent)?;
        let key = self.space.extent(id, visibility);
        self.put(Table::StateMeta, key, codec::encode_extent(&extent));
        self.open = Some(Open { id, visibility, audit, chunk_of: None });
        Ok(())
    }

    fn take_run(&mut self, offset: u64, run: RunRecord) -> Result<(), &'static str> {
        let open = self.open.as_mut().ok_or("a run has no extent")?;
        let is_first = open.audit.run(offset, &run)?;
        open.chunk_of = is_first.then_some(run);
        let key = self.space.run(open.id, offset);
        self.put(Table::StateMeta, key, codec::encode_run(&run));
        Ok(())
    }

    fn take_chunk(&mut self, bytes: Bytes) -> Result<(), &'static str> {
        let open = self.open.as_mut().ok_or("a chunk has no extent")?;
        let run = open.chunk_of.take().ok_or("a chunk has no run")?;
        let is_it = bytes.len() as u64 == u64::from(run.chunk_len)
            && Crc32c::of(&bytes) == run.chunk_crc32c;
        if !is_it {
            return Err("a chunk is not what its run says");
        }
        let key = self.space.chunk(open.id, run.chunk_id);
        self.put(Table::Chunk, key, bytes);
        Ok(())
    }

    fn take_trailer(&mut self, mut payload: Bytes) -> Result<(), Refused> {
        let awaits_chunk = self.open.as_ref().is_some_and(|open| open.chunk_of.is_some());
        if awaits_chunk {
            return Err(self.out_of_place("a run has no chunk"));
        }
        self.close_extent().map_err(|problem| self.out_of_place(problem))?;
        let item_count = payload.try_get_u64_le().map_err(|_| self.damaged("trailer"))?;
        if item_count != self.item_count || !payload.is_empty() {
            return Err(self.damaged("trailer"));
        }
        let counted =
            |s: &StateRecord| (s.extent_count, s.staged_count, s.size_bytes, s.request_count);
        if counted(&self.found) != counted(&self.state) {
            return Err(self.out_of_place("its counters are not those of its header"));
        }
        self.expected = Expected::Nothing;
        Ok(())
    }

    fn close_extent(&mut self) -> Result<(), &'static str> {
        match self.open.take() {
            Some(open) => open.audit.finish(),
            None => Ok(()),
        }
    }

    fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes) {
        self.batch_len += key.len() + value.len();
        self.batch.put(table, key, value);
    }

    fn damaged(&self, problem: &'static str) -> Refused {
        Refused::Damaged { number: self.number, problem }
    }

    fn out_of_place(&self, problem: &'static str) -> Refused {
        Refused::OutOfPlace { number: self.number, problem }
    }
}

#[cfg(test)]
mod tests {
    //! Streams whose chunks are intact and whose sender is wrong.

    use bytes::{BufMut, BytesMut};
    use partition_types::Outcome;

    use super::*;
    use crate::state::RequestRecord;
    use crate::testing::{extent, log_id, partition, request};

    /// A stream of these items, and of what its header says.
    fn stream(state: &StateRecord, items: &[Item]) -> Vec<Bytes> {
        let mut header = BytesMut::new();
        header.put_u64_le(7);
        header.put_slice(&codec::encode_state(state));
        let mut records = BytesMut::new();
        items.iter().for_each(|item| item.encode(&mut records));
        let count = (items.len() as u64).to_le_bytes();
        vec![
            format::encode(Kind::Header, 0, &header),
            format::encode(Kind::Records, 1, &records),
            format::encode(Kind::Trailer, 2, &count),
        ]
    }

    fn receive(chunks: Vec<Bytes>) -> Result<StateRecord, Refused> {
        let mut receiver = Receiver::new(Space::new(partition(7), 2));
        for chunk in chunks {
            receiver.take(chunk)?;
        }
        receiver.finish()
    }

    fn visible(id: u64, size: u64) -> Item {
        let empty = ExtentRecord::empty(0);
        let extent_record = ExtentRecord { size, stored_bytes: size, next_chunk_id: 3, ..empty };
        Item::Extent { visibility: Visibility::Visible, id: extent(id), extent: extent_record }
    }

    /// A run of the chunk `abcd`.
    fn run(offset: u64, chunk_id: u64, skip: u32, len: u32) -> Item {
        let chunk_crc32c = Crc32c::of(b"abcd");
        Item::Run { offset, run: RunRecord { len, chunk_id, skip, chunk_len: 4, chunk_crc32c } }
    }

    fn chunk(bytes: &'static [u8]) -> Item {
        Item::Chunk(Bytes::from_static(bytes))
    }

    fn remembered(index: u64) -> Item {
        let request = RequestRecord { request_id: request(1), at_ms: 0 };
        Item::Request { index, request, outcome: Outcome::Nothing }
    }

    /// One extent of six bytes, in two chunks, and one request.
    fn good() -> (StateRecord, Vec<Item>) {
        let state = StateRecord {
            applied: Some(log_id(9)),
            next_extent_id: 3,
            extent_count: 1,
            size_bytes: 6,
            request_count: 1,
            ..StateRecord::empty()
        };
        let items = vec![
            visible(1, 6),
            run(0, 1, 0, 2),
            chunk(b"abcd"),
            run(2, 2, 0, 1),
            chunk(b"abcd"),
            run(3, 1, 3, 1),
            run(4, 2, 2, 2),
            remembered(5),
        ];
        (state, items)
    }

    #[test]
    fn a_good_stream_is_taken() {
        let (state, items) = good();
        assert_eq!(receive(stream(&state, &items)), Ok(state));
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut StateRecord, &mut Vec<Item>), expected: &str) {
        let (mut state, mut items) = good();
        change(&mut state, &mut items);
        let refused = receive(stream(&state, &items)).expect_err("it is wrong");
        assert!(refused.to_string().ends_with(expected), "{refused}, not {expected}");
    }

    #[test]
    fn wrong_senders_are_refused() {
        check(|_, items| drop(items.remove(2)), "a run has no chunk");
        check(|_, items| items.truncate(2), "a run has no chunk");
        check(|_, items| items.insert(3, chunk(b"abcd")), "a chunk has no run");
        check(|_, items| items[2] = chunk(b"abce"), "a chunk is not what its run says");
        check(|_, items| items[2] = chunk(b"abcde"), "a chunk is not what its run says");
        check(|_, items| drop(items.remove(0)), "a run has no extent");
        check(|_, items| drop(items.drain(1..3)), "an extent has a gap");
        check(|_, items| drop(items.remove(6)), "an extent ends before its size");
        check(|_, items| items.insert(1, visible(1, 6)), "an extent ends before its size");
        check(|_, items| items.push(visible(2, 0)), "extents are out of order");
        check(|_, items| items.insert(0, visible(2, 0)), "extents are out of order");
        check(|_, items| items.push(remembered(5)), "requests are out of order");
        check(|_, items| items[0] = visible(3, 6), "an extent id was never given out");
        check(|_, items| drop(items.remove(7)), "its counters are not those of its header");
        let counters = "its counters are not those of its header";
        check(|state, _| state.extent_count = 2, counters);
        check(|state, _| state.staged_count = 1, counters);
        check(|state, _| state.size_bytes = 7, counters);
        check(|state, _| state.applied = None, "a snapshot of nothing");
    }

    #[test]
    fn a_stream_of_another_partition_is_refused() {
        let (state, items) = good();
        let mut receiver = Receiver::new(Space::new(partition(8), 2));
        let refused = receiver.take(stream(&state, &items).remove(0));
        assert_eq!(refused, Err(Refused::OtherPartition(7)));
    }

    #[test]
    fn the_trailer_counts_all_items() {
        let (state, items) = good();
        let mut chunks = stream(&state, &items);
        chunks[2] = format::encode(Kind::Trailer, 2, &9u64.to_le_bytes());
        assert_eq!(receive(chunks), Err(Refused::Damaged { number: 2, problem: "trailer" }));
    }
}
