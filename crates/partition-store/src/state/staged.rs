//! The ops on staged extents: uploads that nobody sees until they are whole.

use std::ops::ControlFlow;

use partition_types::{Crc32c, Deleted, ExtentId, Outcome, Rejection};

use super::payload::Payload;
use super::record::{ExtentRecord, Visibility};
use super::work::{Applied, Work};

/// How many staged extents one command expires: it must not hold up the
/// partition. The next command takes the next ones.
const EXPIRED_MAX: usize = 1000;

impl Work<'_> {
    pub(super) fn stage(&mut self, at_ms: u64) -> Applied {
        let extent_id = self.next_extent_id();
        self.put_extent(extent_id, Visibility::Staged, &ExtentRecord::empty(at_ms));
        self.state.staged_count += 1;
        Ok(Ok(Outcome::Created { extent_id }))
    }

    pub(super) fn stage_part(
        &mut self,
        at_ms: u64,
        id: ExtentId,
        offset: u64,
        payload: &Payload,
    ) -> Applied {
        let Some(mut extent) = self.view().extent(id, Visibility::Staged)? else {
            return Ok(Err(Rejection::ExtentNotFound(id)));
        };
        if offset.checked_add(payload.len()).is_none() {
            return Ok(Err(Rejection::TooLarge(id)));
        }
        self.write_runs(id, &mut extent, offset, payload)?;
        // Of the latest clock, so that a proposer whose clock is behind does
        // not let an upload expire under its writer.
        extent.modified_at_ms = extent.modified_at_ms.max(at_ms);
        self.put_extent(id, Visibility::Staged, &extent);
        Ok(Ok(Outcome::Written { offset, size: extent.size }))
    }

    pub(super) fn publish(
        &mut self,
        at_ms: u64,
        id: ExtentId,
        size: u64,
        crc32c: Crc32c,
    ) -> Applied {
        let Some(mut extent) = self.view().extent(id, Visibility::Staged)? else {
            return Ok(Err(Rejection::ExtentNotFound(id)));
        };
        let is_gapless = extent.stored_bytes == extent.size;
        if !is_gapless || extent.size != size || self.whole_crc32c(id, &extent)? != crc32c {
            return Ok(Err(Rejection::StagedMismatch(id)));
        }
        extent.sealed_crc32c = Some(crc32c);
        extent.modified_at_ms = at_ms;
        self.delete_extent_record(id, Visibility::Staged);
        self.put_extent(id, Visibility::Visible, &extent);
        self.state.staged_count -= 1;
        self.state.extent_count += 1;
        Ok(Ok(Outcome::Stored { extent_id: id, size, crc32c }))
    }

    pub(super) fn expire_staged(&mut self, before_ms: u64) -> Applied {
        let mut expired = Vec::new();
        self.view().each_extent(Visibility::Staged, 0, |id, extent| {
            if extent.modified_at_ms < before_ms {
                expired.push((id, extent));
            }
            Ok(if expired.len() < EXPIRED_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        let mut results = Vec::with_capacity(expired.len());
        for (extent_id, extent) in expired {
            self.drop_extent(extent_id, Visibility::Staged, &extent)?;
            results.push(Deleted { extent_id, found: true });
        }
        Ok(Ok(Outcome::Deleted(results)))
    }
}
