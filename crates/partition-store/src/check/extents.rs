//! The extents of a partition: their parts make wholes, their bytes are the
//! ones that were stored, and nothing is there that no extent knows of.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use partition_types::{Crc32c, ExtentId, RequestId};

use super::{CheckError, Checked};
use crate::engine::{Read, Table};
use crate::keys;
use crate::state::{
    Audit, ExtentRecord, Problem, RunRecord, Space, StateError, StateRecord, View, Visibility,
};

/// How much a sample looks at. A node checks all its partitions before it may
/// serve: at 128 KiB a chunk, thousands of them must cost seconds.
const SAMPLED_EXTENTS: usize = 2;
const SAMPLED_CHUNKS: u64 = 2;

/// Checks a few chunks of a few extents.
pub(super) fn sample(
    view: View<'_>,
    state: &StateRecord,
    checked: &mut Checked,
) -> Result<(), CheckError> {
    if state.extent_count == 0 {
        return Ok(());
    }
    // Other extents at every start that found new entries; the same ones on
    // every replica would find less.
    let applied_index = state.applied.map_or(0, |log_id| log_id.index);
    let mut dice = Dice(view.partition_id().get() ^ applied_index.rotate_left(32));
    let mut found = extents_from(view, dice.roll(state.next_extent_id))?;
    if found.len() < SAMPLED_EXTENTS {
        // The last ones: the first ones are their neighbours.
        found.extend(extents_from(view, 0)?);
        found.truncate(SAMPLED_EXTENTS);
    }
    if found.is_empty() {
        let recorded = state.extent_count;
        return Err(CheckError::Counter { what: "extents", recorded, found: 0 });
    }
    for (id, extent) in found {
        Audit::new(Visibility::Visible, extent).map_err(|problem| broken(id, problem))?;
        checked.extents += 1;
        let mut seen = 0..0;
        for _ in 0..SAMPLED_CHUNKS.min(extent.size) {
            let at = dice.roll(extent.size);
            if seen.contains(&at) {
                // Of a small extent it would be the same chunk again.
                continue;
            }
            let Some((offset, run)) = view.run_at(id, at)? else {
                return Err(view.damaged(id, at, Problem::Missing).into());
            };
            let bytes = view.run_bytes(id, offset, &run)?;
            seen = offset..offset + u64::from(run.len);
            checked.chunks += 1;
            checked.chunk_bytes += bytes.len() as u64;
        }
    }
    Ok(())
}

/// Neighbours: a disk that is slow to seek reads them at once.
fn extents_from(view: View<'_>, from: u64) -> Result<Vec<(ExtentId, ExtentRecord)>, StateError> {
    let mut found = Vec::new();
    view.each_extent(Visibility::Visible, from, |id, extent| {
        found.push((id, extent));
        let is_enough = found.len() == SAMPLED_EXTENTS;
        Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

/// Checks every extent and every byte, and that there is nothing else.
pub(super) fn all(
    data: &dyn Read,
    view: View<'_>,
    state: &StateRecord,
    checked: &mut Checked,
) -> Result<(), CheckError> {
    let mut extents = BTreeMap::new();
    for visibility in [Visibility::Visible, Visibility::Staged] {
        let mut found = 0;
        view.each_extent(visibility, 0, |id, extent| {
            extents.insert(id, (visibility, extent));
            found += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        let (what, recorded) = match visibility {
            Visibility::Visible => ("extents", state.extent_count),
            Visibility::Staged => ("staged extents", state.staged_count),
        };
        count(what, recorded, found)?;
    }

    let mut size_bytes: u64 = 0;
    let mut free_from = 1;
    for (&id, (visibility, extent)) in &extents {
        nothing_between(data, view.space(), free_from, id.get())?;
        whole(data, view, id, *visibility, extent, checked)?;
        size_bytes = size_bytes.saturating_add(extent.stored_bytes);
        free_from = id.get().saturating_add(1);
    }
    nothing_between(data, view.space(), free_from, u64::MAX)?;
    count("stored bytes", state.size_bytes, size_bytes)?;
    if let Some(last) = extents.keys().next_back()
        && last.get() >= state.next_extent_id
    {
        return Err(broken(*last, "its id was never given out"));
    }
    requests(data, view, state)
}

/// Checks one extent: its runs, then its chunks against them.
fn whole(
    data: &dyn Read,
    view: View<'_>,
    id: ExtentId,
    visibility: Visibility,
    extent: &ExtentRecord,
    checked: &mut Checked,
) -> Result<(), CheckError> {
    let mut audit = Audit::new(visibility, *extent).map_err(|problem| broken(id, problem))?;
    let mut chunks: BTreeMap<u64, (u64, RunRecord)> = BTreeMap::new();
    let mut crc = Crc32c::EMPTY;
    let mut problem = None;
    view.each_run(id, 0..u64::MAX, |offset, run| {
        match audit.run(offset, &run) {
            Err(rule) => {
                problem = Some(rule);
                return Ok(ControlFlow::Break(()));
            }
            Ok(true) => {
                if chunks.insert(run.chunk_id, (offset, run)).is_some() {
                    problem = Some("a chunk is mapped twice");
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(false) => {}
        }
        let run_crc = if run.is_whole_chunk() {
            run.chunk_crc32c
        } else {
            Crc32c::of(&view.run_bytes(id, offset, &run)?)
        };
        crc = crc.followed_by(run_crc, u64::from(run.len));
        Ok(ControlFlow::Continue(()))
    })?;
    let rule = problem.map_or_else(|| audit.finish(), Err);
    rule.map_err(|problem| broken(id, problem))?;
    let is_gapless = extent.stored_bytes == extent.size;
    for expected in [extent.sealed_crc32c, extent.running_crc32c].into_iter().flatten() {
        if is_gapless && expected != crc {
            return Err(view.damaged(id, 0, Problem::Checksum).into());
        }
    }
    checked.extents += 1;
    stored(data, view, id, chunks, checked)
}

/// Checks the chunks of an extent against the runs that map them.
fn stored(
    data: &dyn Read,
    view: View<'_>,
    id: ExtentId,
    mut expected: BTreeMap<u64, (u64, RunRecord)>,
    checked: &mut Checked,
) -> Result<(), CheckError> {
    let mut result = Ok(());
    each(data, Table::Chunk, &view.space().chunks(id), |key, bytes| {
        let chunk = keys::chunk_of(key)
            .map(|chunk_id| expected.remove(&chunk_id))
            .map_err(|source| CheckError::Record { what: "key of a chunk", source });
        result = match chunk {
            Err(error) => Err(error),
            Ok(None) => Err(broken(id, "a chunk is stored that no run maps")),
            Ok(Some((offset, run))) if bytes.len() as u64 != u64::from(run.chunk_len) => {
                Err(view.damaged(id, offset, Problem::Length).into())
            }
            Ok(Some((offset, run))) if Crc32c::of(bytes) != run.chunk_crc32c => {
                Err(view.damaged(id, offset, Problem::Checksum).into())
            }
            Ok(Some(_)) => Ok(()),
        };
        checked.chunks += 1;
        checked.chunk_bytes += bytes.len() as u64;
        result.is_ok()
    })?;
    result?;
    match expected.values().next() {
        Some((offset, _)) => Err(view.damaged(id, *offset, Problem::Missing).into()),
        None => Ok(()),
    }
}

/// Runs and chunks between two extent ids, the upper one not included, belong
/// to no extent.
fn nothing_between(data: &dyn Read, space: Space, from: u64, to: u64) -> Result<(), CheckError> {
    let (Ok(first), Ok(end)) = (ExtentId::new(from), ExtentId::new(to)) else { return Ok(()) };
    let orphans = [
        (Table::StateMeta, space.runs(first).start..space.runs(end).start),
        (Table::Chunk, space.chunks(first).start..space.chunks(end).start),
    ];
    for (table, range) in orphans {
        let mut is_empty = true;
        each(data, table, &range, |_, _| {
            is_empty = false;
            false
        })?;
        if !is_empty {
            return Err(broken(first, "bytes are stored for an extent that is not there"));
        }
    }
    Ok(())
}

/// Every remembered request has its outcome, and there are no others.
fn requests(data: &dyn Read, view: View<'_>, state: &StateRecord) -> Result<(), CheckError> {
    let mut found = 0;
    let mut found_outcomes = 0;
    view.each_request(0, |index, request| {
        found += 1;
        let is_known = view.outcome(&request.request_id)?.is_some();
        found_outcomes += u64::from(is_known && index >= state.request_floor);
        Ok(ControlFlow::Continue(()))
    })?;
    count("remembered requests", state.request_count, found)?;
    count("outcomes of remembered requests", state.request_count, found_outcomes)?;
    let mut outcomes = 0;
    let range = view.space().outcome(&RequestId::from_bytes([0; 16]))
        ..view.space().outcome(&RequestId::from_bytes([u8::MAX; 16]));
    each(data, Table::StateMeta, &range, |_, _| {
        outcomes += 1;
        true
    })?;
    // The greatest id of all is beyond the end of the range.
    let greatest = view.outcome(&RequestId::from_bytes([u8::MAX; 16]))?;
    count("outcomes", state.request_count, outcomes + u64::from(greatest.is_some()))
}

/// Visits a range until `visit` says no.
fn each(
    data: &dyn Read,
    table: Table,
    range: &Range<Vec<u8>>,
    mut visit: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), CheckError> {
    data.scan(table, &range.start..&range.end, &mut |key, value| {
        if visit(key, value) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(())
}

fn count(what: &'static str, recorded: u64, found: u64) -> Result<(), CheckError> {
    if recorded == found { Ok(()) } else { Err(CheckError::Counter { what, recorded, found }) }
}

fn broken(id: ExtentId, problem: &'static str) -> CheckError {
    CheckError::Extent { extent_id: id.get(), problem }
}

/// Pseudo-random numbers (splitmix64, Steele et al., OOPSLA 2014); the same
/// seed gives the same ones, so that a found fault is found again.
struct Dice(u64);

impl Dice {
    /// Below `sides`, which is above 0.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
