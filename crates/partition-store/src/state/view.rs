//! One generation of one partition, read through anything that reads: the
//! engine, a snapshot of it, or changes laid over it. Typed, decoded, checked.

use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use partition_types::{Crc32c, ExtentId, Outcome, PartitionId, RequestId};

use super::error::{Damage, Problem, StateError};
use super::record::{ExtentRecord, RequestRecord, RunRecord, StateRecord, Visibility};
use super::space::Space;
use crate::codec::{self, CodecError};
use crate::engine::{EngineError, Read, Table};
use crate::keys;

/// What a visitor says after each record: go on, stop, or fail.
pub(crate) type Visited = Result<ControlFlow<()>, StateError>;

/// A typed look at a partition's state.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    read: &'a dyn Read,
    space: Space,
}

impl<'a> View<'a> {
    pub(crate) fn new(read: &'a dyn Read, space: Space) -> Self {
        Self { read, space }
    }

    /// The current generation of a partition, as `read` has it.
    pub(crate) fn current(read: &'a dyn Read, id: PartitionId) -> Result<Self, StateError> {
        let generation = super::generation::current(read, id)?;
        Ok(Self::new(read, Space::new(id, generation)))
    }

    pub(crate) fn space(&self) -> Space {
        self.space
    }

    pub(crate) fn partition_id(&self) -> PartitionId {
        self.space.partition_id
    }

    /// The state record; of an empty partition when there is none yet.
    pub(crate) fn state(&self) -> Result<StateRecord, StateError> {
        match self.read.get(Table::StateMeta, &self.space.state())? {
            None => Ok(StateRecord::empty()),
            Some(value) => codec::decode_state(&value).map_err(|e| self.undecoded("state", e)),
        }
    }

    pub(crate) fn extent(
        &self,
        id: ExtentId,
        visibility: Visibility,
    ) -> Result<Option<ExtentRecord>, StateError> {
        let key = self.space.extent(id, visibility);
        let value = self.read.get(Table::StateMeta, &key);
        match value.map_err(|error| self.unread(id, 0, error))? {
            None => Ok(None),
            Some(value) => codec::decode_extent(&value)
                .map(Some)
                .map_err(|_| self.damaged(id, 0, Problem::Record)),
        }
    }

    /// Visits extents in the order of their ids, beginning with `from`.
    pub(crate) fn each_extent(
        &self,
        visibility: Visibility,
        from: u64,
        mut visit: impl FnMut(ExtentId, ExtentRecord) -> Visited,
    ) -> Result<(), StateError> {
        let range = self.space.extents(visibility, from);
        self.each(range, |key, value| {
            let id = keys::extent_of(key).map_err(|e| self.undecoded("extent key", e))?;
            let record = codec::decode_extent(&Bytes::copy_from_slice(value))
                .map_err(|_| self.damaged(id, 0, Problem::Record))?;
            visit(id, record)
        })
    }

    /// Visits the runs of an extent that begin in `offsets`, in order.
    pub(crate) fn each_run(
        &self,
        id: ExtentId,
        offsets: Range<u64>,
        mut visit: impl FnMut(u64, RunRecord) -> Visited,
    ) -> Result<(), StateError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let range = self.space.run(id, offsets.start)..self.space.run(id, offsets.end);
        self.each(range, |key, value| {
            let (offset, run) = self.decode_run(id, key, value)?;
            visit(offset, run)
        })
    }

    /// The run that has the byte at `offset`, and where it begins.
    pub(crate) fn run_at(
        &self,
        id: ExtentId,
        offset: u64,
    ) -> Result<Option<(u64, RunRecord)>, StateError> {
        let range = self.space.run(id, 0)..self.space.run(id, offset.saturating_add(1));
        let mut last = Ok(None);
        self.read.scan_back(Table::StateMeta, &range.start..&range.end, &mut |key, value| {
            last = self.decode_run(id, key, value).map(Some);
            ControlFlow::Break(())
        })?;
        Ok(last?.filter(|(begin, run)| run.end(*begin) > offset))
    }

    /// Visits the runs that overlap `range`, the first of which may begin
    /// before it.
    pub(crate) fn each_run_over(
        &self,
        id: ExtentId,
        range: Range<u64>,
        mut visit: impl FnMut(u64, RunRecord) -> Visited,
    ) -> Result<(), StateError> {
        if range.is_empty() {
            return Ok(());
        }
        let begin = self.run_at(id, range.start)?.map_or(range.start, |(begin, _)| begin);
        self.each_run(id, begin..range.end, &mut visit)
    }

    /// The whole chunk of a run, checked against the run's checksum.
    pub(crate) fn verified_chunk(
        &self,
        id: ExtentId,
        offset: u64,
        run: &RunRecord,
    ) -> Result<Bytes, StateError> {
        let chunk = self.read.get(Table::Chunk, &self.space.chunk(id, run.chunk_id));
        let Some(chunk) = chunk.map_err(|error| self.unread(id, offset, error))? else {
            return Err(self.damaged(id, offset, Problem::Missing));
        };
        if chunk.len() as u64 != u64::from(run.chunk_len) {
            return Err(self.damaged(id, offset, Problem::Length));
        }
        if Crc32c::of(&chunk) != run.chunk_crc32c {
            return Err(self.damaged(id, offset, Problem::Checksum));
        }
        Ok(chunk)
    }

    /// The bytes of a run, out of its checked chunk.
    pub(crate) fn run_bytes(
        &self,
        id: ExtentId,
        offset: u64,
        run: &RunRecord,
    ) -> Result<Bytes, StateError> {
        let chunk = self.verified_chunk(id, offset, run)?;
        let begin = run.skip as usize;
        let end = begin.checked_add(run.len as usize).filter(|end| *end <= chunk.len());
        end.map(|end| chunk.slice(begin..end))
            .ok_or_else(|| self.damaged(id, offset, Problem::Length))
    }

    pub(crate) fn outcome(&self, request: &RequestId) -> Result<Option<Outcome>, StateError> {
        match self.read.get(Table::StateMeta, &self.space.outcome(request))? {
            None => Ok(None),
            Some(value) => {
                codec::decode_outcome(&value).map(Some).map_err(|e| self.undecoded("outcome", e))
            }
        }
    }

    /// Visits remembered requests in the order of the log, from an index on.
    pub(crate) fn each_request(
        &self,
        from_index: u64,
        mut visit: impl FnMut(u64, RequestRecord) -> Visited,
    ) -> Result<(), StateError> {
        let range = self.space.requests(from_index);
        self.each(range, |key, value| {
            let index =
                keys::index_of_request(key).map_err(|e| self.undecoded("request key", e))?;
            let record = codec::decode_request(&Bytes::copy_from_slice(value))
                .map_err(|e| self.undecoded("request", e))?;
            visit(index, record)
        })
    }

    /// Damage to an extent, ready to be returned.
    pub(crate) fn damaged(&self, id: ExtentId, offset: u64, problem: Problem) -> StateError {
        let partition_id = self.space.partition_id;
        StateError::Damaged(Damage { partition_id, extent_id: id, offset, problem })
    }

    /// The engine has checksums of its own and may find the damage before we do.
    fn unread(&self, id: ExtentId, offset: u64, error: EngineError) -> StateError {
        match error {
            EngineError::Damaged(_) => self.damaged(id, offset, Problem::Checksum),
            EngineError::Disk(_) => error.into(),
        }
    }

    fn undecoded(&self, what: &'static str, source: CodecError) -> StateError {
        StateError::Record { what, partition_id: self.space.partition_id, source }
    }

    fn decode_run(
        &self,
        id: ExtentId,
        key: &[u8],
        value: &[u8],
    ) -> Result<(u64, RunRecord), StateError> {
        let offset = keys::offset_of_run(key).map_err(|e| self.undecoded("run key", e))?;
        let run = codec::decode_run(&Bytes::copy_from_slice(value))
            .map_err(|_| self.damaged(id, offset, Problem::Record))?;
        Ok((offset, run))
    }

    /// A scan of `StateMeta` whose visitor may fail.
    fn each(
        &self,
        range: Range<Vec<u8>>,
        mut visit: impl FnMut(&[u8], &[u8]) -> Visited,
    ) -> Result<(), StateError> {
        let mut failed = None;
        self.read.scan(Table::StateMeta, &range.start..&range.end, &mut |key, value| {
            visit(key, value).unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            })
        })?;
        failed.map_or(Ok(()), Err)
    }
}
