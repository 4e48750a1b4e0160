//! What must hold for the runs of an extent, checked as they come in order.
//!
//! Used on what is stored (`check.rs`) and on what a peer sends (`snapshot/`):
//! the same rules for both.

use std::collections::BTreeMap;

use super::record::{CHUNK_LEN_MAX, ExtentRecord, RunRecord, Visibility};

/// A rule that does not hold, in words.
pub(crate) type Broken = &'static str;

/// The runs of one extent so far.
pub(crate) struct Audit {
    visibility: Visibility,
    extent: ExtentRecord,
    end: u64,
    stored_bytes: u64,
    /// Chunks that later runs may map again: the first run of each.
    open: BTreeMap<u64, (u64, RunRecord)>,
}

impl Audit {
    /// Begins with the extent's record.
    pub(crate) fn new(visibility: Visibility, extent: ExtentRecord) -> Result<Self, Broken> {
        match visibility {
            Visibility::Visible if extent.stored_bytes != extent.size => {
                return Err("an extent has another size than its bytes");
            }
            Visibility::Staged if extent.stored_bytes > extent.size => {
                return Err("a staged extent has more bytes than its size");
            }
            Visibility::Staged if extent.sealed_crc32c.is_some() => {
                return Err("a staged extent is sealed");
            }
            Visibility::Visible | Visibility::Staged => {}
        }
        Ok(Self { visibility, extent, end: 0, stored_bytes: 0, open: BTreeMap::new() })
    }

    /// Takes the next run; true when it is the first of its chunk.
    pub(crate) fn run(&mut self, offset: u64, run: &RunRecord) -> Result<bool, Broken> {
        if offset < self.end {
            return Err("runs overlap");
        }
        if offset > self.end && self.visibility == Visibility::Visible {
            return Err("an extent has a gap");
        }
        if run.len == 0 || run.chunk_len as usize > CHUNK_LEN_MAX {
            return Err("a run or its chunk has an impossible length");
        }
        if run.skip.checked_add(run.len).is_none_or(|end| end > run.chunk_len)
            || u64::from(run.skip) > offset
        {
            return Err("a run maps bytes outside its chunk");
        }
        let Some(end) = offset.checked_add(u64::from(run.len)).filter(|e| *e <= self.extent.size)
        else {
            return Err("a run ends beyond its extent");
        };
        if run.chunk_id == 0 || run.chunk_id >= self.extent.next_chunk_id {
            return Err("a chunk id was never given out");
        }
        self.end = end;
        self.stored_bytes += u64::from(run.len);

        self.open.retain(|_, (first, run)| run.chunk_range(*first).1 > offset);
        let Some((first_offset, first)) = self.open.get(&run.chunk_id) else {
            self.open.insert(run.chunk_id, (offset, *run));
            return Ok(true);
        };
        let is_same_chunk = first.chunk_range(*first_offset) == run.chunk_range(offset)
            && first.chunk_crc32c == run.chunk_crc32c;
        if is_same_chunk { Ok(false) } else { Err("runs of a chunk differ about it") }
    }

    /// Ends with the last run.
    pub(crate) fn finish(&self) -> Result<(), Broken> {
        if self.end != self.extent.size {
            return Err("an extent ends before its size");
        }
        if self.stored_bytes != self.extent.stored_bytes {
            return Err("an extent has fewer bytes than its record says");
        }
        Ok(())
    }
}
