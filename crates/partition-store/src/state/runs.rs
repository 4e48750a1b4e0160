//! Extents as runs of chunks.
//!
//! A write stores its bytes as new chunks and never reads what it overwrites:
//! the runs under it are trimmed, split or dropped. A chunk goes with its last
//! run; since a chunk never moves, only runs inside the range it was written to
//! can be its runs, and a look at that range decides.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use partition_types::ExtentId;

use super::error::StateError;
use super::payload::Payload;
use super::record::{ExtentRecord, RunRecord};
use super::work::Work;
use crate::engine::Table;

/// From this many runs on an extent is deleted by key range: range tombstones
/// are dear for every later read, single ones only for their key.
const RUNS_DELETED_SINGLY_MAX: usize = 64;

impl Work<'_> {
    /// Writes a payload over and past whatever is there, and brings the
    /// extent's counters up to date; the caller stores the record.
    ///
    /// `offset` plus the payload's length must fit into 64 bits.
    pub(super) fn write_runs(
        &mut self,
        id: ExtentId,
        extent: &mut ExtentRecord,
        offset: u64,
        payload: &Payload,
    ) -> Result<(), StateError> {
        if payload.len() == 0 {
            return Ok(());
        }
        let end = offset + payload.len();
        let is_at_end = offset == extent.size;
        let covered = if offset < extent.size { self.cut(id, offset..end)? } else { 0 };

        let mut at = offset;
        for (bytes, crc) in payload.chunks() {
            let len = u32::try_from(bytes.len()).expect("a chunk is at most 128 KiB long");
            let chunk_id = extent.next_chunk_id;
            extent.next_chunk_id += 1;
            let run = RunRecord { len, chunk_id, skip: 0, chunk_len: len, chunk_crc32c: crc };
            self.put_run(id, at, &run);
            self.put_chunk(id, chunk_id, bytes);
            at += u64::from(len);
        }

        extent.running_crc32c = match extent.running_crc32c {
            _ if offset == 0 && end >= extent.size => Some(payload.crc32c()),
            Some(running) if is_at_end => {
                Some(running.followed_by(payload.crc32c(), payload.len()))
            }
            _ => None,
        };
        extent.size = extent.size.max(end);
        extent.stored_bytes = extent.stored_bytes + payload.len() - covered;
        self.state.size_bytes = self.state.size_bytes + payload.len() - covered;
        Ok(())
    }

    /// Makes `range` free of runs and returns how many bytes they covered there.
    fn cut(&mut self, id: ExtentId, range: Range<u64>) -> Result<u64, StateError> {
        let mut runs = Vec::new();
        self.view().each_run_over(id, range.clone(), |offset, run| {
            runs.push((offset, run));
            Ok(ControlFlow::Continue(()))
        })?;

        let mut covered = 0;
        // Chunks that lost bytes, with the range they were written to.
        let mut touched = BTreeMap::new();
        for (offset, run) in runs {
            let end = run.end(offset);
            covered += end.min(range.end) - offset.max(range.start);
            touched.insert(run.chunk_id, run.chunk_range(offset));
            self.delete_run(id, offset);
            if offset < range.start {
                let len = narrow(range.start - offset);
                self.put_run(id, offset, &RunRecord { len, ..run });
            }
            if end > range.end {
                let skip = run.skip + narrow(range.end - offset);
                let rest = RunRecord { len: narrow(end - range.end), skip, ..run };
                self.put_run(id, range.end, &rest);
            }
        }
        for (chunk_id, (begin, end)) in touched {
            let is_covered_whole = range.start <= begin && end <= range.end;
            if is_covered_whole || !self.is_mapped(id, chunk_id, begin..end)? {
                self.delete_chunk(id, chunk_id);
                self.freed_bytes += end - begin;
            }
        }
        Ok(covered)
    }

    /// Whether any run in the range a chunk was written to still maps it.
    fn is_mapped(
        &self,
        id: ExtentId,
        chunk_id: u64,
        written: Range<u64>,
    ) -> Result<bool, StateError> {
        let mut found = false;
        self.view().each_run(id, written, |_, run| {
            found = run.chunk_id == chunk_id;
            Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// Deletes all runs and chunks of an extent.
    pub(super) fn delete_runs(&mut self, id: ExtentId) -> Result<(), StateError> {
        let mut runs = Vec::new();
        self.view().each_run(id, 0..u64::MAX, |offset, run| {
            runs.push((offset, run.chunk_id));
            Ok(if runs.len() <= RUNS_DELETED_SINGLY_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        if runs.len() > RUNS_DELETED_SINGLY_MAX {
            self.overlay.delete_range(Table::StateMeta, self.space.runs(id));
            self.overlay.delete_range(Table::Chunk, self.space.chunks(id));
            return Ok(());
        }
        for (offset, chunk_id) in runs {
            self.delete_run(id, offset);
            self.delete_chunk(id, chunk_id);
        }
        Ok(())
    }
}

/// A difference inside one run, which is at most a chunk long.
fn narrow(len: u64) -> u32 {
    u32::try_from(len).expect("a run is no longer than its chunk")
}
