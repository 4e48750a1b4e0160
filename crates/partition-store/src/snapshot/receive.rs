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
