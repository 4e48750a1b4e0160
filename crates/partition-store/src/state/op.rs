//! The ops on visible extents.
//!
//! Offsets and lengths are checked before anything is computed from them; a
//! rejected op changes nothing.

use std::ops::ControlFlow;

use partition_types::{Crc32c, Deleted, ExtentId, Outcome, Rejection};

use super::error::StateError;
use super::payload::Payload;
use super::record::{ExtentRecord, Visibility};
use super::work::{Applied, Work};

impl Work<'_> {
    pub(super) fn create(&mut self, at_ms: u64) -> Applied {
        let extent_id = self.next_extent_id();
        self.put_extent(extent_id, Visibility::Visible, &ExtentRecord::empty(at_ms));
        self.state.extent_count += 1;
        Ok(Ok(Outcome::Created { extent_id }))
    }

    pub(super) fn store(&mut self, at_ms: u64, payload: &Payload) -> Applied {
        let extent_id = self.next_extent_id();
        let mut extent = ExtentRecord::empty(at_ms);
        self.write_runs(extent_id, &mut extent, 0, payload)?;
        extent.sealed_crc32c = Some(payload.crc32c());
        self.put_extent(extent_id, Visibility::Visible, &extent);
        self.state.extent_count += 1;
        Ok(Ok(Outcome::Stored { extent_id, size: extent.size, crc32c: payload.crc32c() }))
    }

    pub(super) fn append(&mut self, at_ms: u64, id: ExtentId, payload: &Payload) -> Applied {
        let mut extent = match self.writable(id)? {
            Ok(extent) => extent,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let offset = extent.size;
        self.write_visible(at_ms, id, &mut extent, offset, payload)
    }

    pub(super) fn write(
        &mut self,
        at_ms: u64,
        id: ExtentId,
        offset: u64,
        payload: &Payload,
    ) -> Applied {
        let mut extent = match self.writable(id)? {
            Ok(extent) => extent,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if offset > extent.size {
            let size = extent.size;
            return Ok(Err(Rejection::OffsetOutOfRange { extent_id: id, offset, size }));
        }
        self.write_visible(at_ms, id, &mut extent, offset, payload)
    }

    fn write_visible(
        &mut self,
        at_ms: u64,
        id: ExtentId,
        extent: &mut ExtentRecord,
        offset: u64,
        payload: &Payload,
    ) -> Applied {
        if offset.checked_add(payload.len()).is_none() {
            return Ok(Err(Rejection::TooLarge(id)));
        }
        self.write_runs(id, extent, offset, payload)?;
        extent.modified_at_ms = at_ms;
        self.put_extent(id, Visibility::Visible, extent);
        Ok(Ok(Outcome::Written { offset, size: extent.size }))
    }

    pub(super) fn seal(&mut self, at_ms: u64, id: ExtentId) -> Applied {
        let Some(mut extent) = self.view().extent(id, Visibility::Visible)? else {
            return Ok(Err(Rejection::ExtentNotFound(id)));
        };
        if let Some(crc32c) = extent.sealed_crc32c {
            return Ok(Ok(Outcome::Sealed { size: extent.size, crc32c }));
        }
        let crc32c = self.whole_crc32c(id, &extent)?;
        extent.sealed_crc32c = Some(crc32c);
        extent.modified_at_ms = at_ms;
        self.put_extent(id, Visibility::Visible, &extent);
        Ok(Ok(Outcome::Sealed { size: extent.size, crc32c }))
    }

    pub(super) fn delete(&mut self, ids: &[ExtentId]) -> Applied {
        let mut results = Vec::with_capacity(ids.len());
        for &extent_id in ids {
            let mut found = false;
            for visibility in [Visibility::Visible, Visibility::Staged] {
                if let Some(extent) = self.view().extent(extent_id, visibility)? {
                    self.drop_extent(extent_id, visibility, &extent)?;
                    found = true;
                    break;
                }
            }
            results.push(Deleted { extent_id, found });
        }
        Ok(Ok(Outcome::Deleted(results)))
    }

    /// Deletes an extent that is there, with all it stored.
    pub(super) fn drop_extent(
        &mut self,
        id: ExtentId,
        visibility: Visibility,
        extent: &ExtentRecord,
    ) -> Result<(), StateError> {
        self.delete_runs(id)?;
        self.delete_extent_record(id, visibility);
        match visibility {
            Visibility::Visible => self.state.extent_count -= 1,
            Visibility::Staged => self.state.staged_count -= 1,
        }
        self.state.size_bytes -= extent.stored_bytes;
        self.freed_bytes += extent.stored_bytes;
        Ok(())
    }

    /// The sum of all bytes of an extent without gaps.
    ///
    /// From the sums of its chunks; bytes are read only of chunks that were
    /// overwritten in part.
    pub(super) fn whole_crc32c(
        &self,
        id: ExtentId,
        extent: &ExtentRecord,
    ) -> Result<Crc32c, StateError> {
        if let Some(running) = extent.running_crc32c {
            return Ok(running);
        }
        let view = self.view();
        let mut whole = Crc32c::EMPTY;
        view.each_run(id, 0..extent.size, |offset, run| {
            let crc = if run.is_whole_chunk() {
                run.chunk_crc32c
            } else {
                Crc32c::of(&view.run_bytes(id, offset, &run)?)
            };
            whole = whole.followed_by(crc, u64::from(run.len));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(whole)
    }

    pub(super) fn next_extent_id(&mut self) -> ExtentId {
        let id = ExtentId::new(self.state.next_extent_id).expect("ids are counted from 1");
        // 2^64 ids do not come to pass: one a nanosecond lasts 584 years.
        self.state.next_extent_id += 1;
        id
    }

    /// A visible extent that takes writes.
    fn writable(&self, id: ExtentId) -> Result<Result<ExtentRecord, Rejection>, StateError> {
        Ok(match self.view().extent(id, Visibility::Visible)? {
            None => Err(Rejection::ExtentNotFound(id)),
            Some(extent) if extent.sealed_crc32c.is_some() => Err(Rejection::ExtentSealed(id)),
            Some(extent) => Ok(extent),
        })
    }
}
