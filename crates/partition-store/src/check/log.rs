//! The log of a partition: without gaps, and where the state says it is.

use std::ops::ControlFlow;

use bytes::Bytes;
use partition_types::{LogId, PartitionId};

use super::{CheckError, Checked, Verify};
use crate::codec::{self, Bounds};
use crate::engine::{Read, Table};
use crate::{keys, log};

/// How many entries a sample decodes, the last ones.
const SAMPLED_ENTRIES: u64 = 16;

/// Checks the log of a partition whose state has `applied`.
///
/// A state is never ahead of its log, because entries are synced before they
/// are applied; except that an installed snapshot jumps ahead of a log that is
/// purged only afterwards.
pub(super) fn check(
    raft: &dyn Read,
    id: PartitionId,
    applied: Option<LogId>,
    has_installed: bool,
    verify: Verify,
    checked: &mut Checked,
) -> Result<(), CheckError> {
    let bounds = match raft.get(Table::LogMeta, &keys::bounds(id))? {
        Some(record) => codec::decode_bounds(&record)
            .map_err(|source| CheckError::Record { what: "bounds of the log", source })?,
        None => Bounds::default(),
    };
    let last = bounds.last().max(bounds.purged);
    in_order(("purged", bounds.purged), ("applied", applied))?;
    if !has_installed {
        in_order(("applied", applied), ("last", last))?;
    }

    let Some((first_index, last)) = bounds.entries else { return Ok(()) };
    let expected = bounds.purged.map_or(0, |purged| purged.index.saturating_add(1));
    if first_index > expected {
        return Err(CheckError::LogGap { index: expected });
    }
    let from = match verify {
        Verify::None => last.index,
        Verify::Sample => last.index.saturating_sub(SAMPLED_ENTRIES - 1).max(first_index),
        Verify::Full => first_index,
    };
    let mut leaders = Vec::new();
    let mut before = bounds.purged;
    let found_last = entries(raft, id, from, last.index, |entry| {
        checked.entries += 1;
        if before.is_none_or(|before| !before.is_by_leader_of(entry)) {
            leaders.push(entry);
        }
        before = Some(entry);
    })?;
    if found_last != last {
        return Err(CheckError::LogEnd { recorded: last, found: found_last });
    }
    if verify == Verify::Full {
        leaders.retain(|first| first.index >= bounds.leaders_from);
        check_leaders(raft, id, &bounds, &leaders)?;
    }
    Ok(())
}

/// There is a record of where each leader began, and no other.
fn check_leaders(
    raft: &dyn Read,
    id: PartitionId,
    bounds: &Bounds,
    expected: &[LogId],
) -> Result<(), CheckError> {
    let purged = bounds.purged.map_or(0, |purged| purged.index.saturating_add(1));
    let range = keys::leaders_from(id, purged.max(bounds.leaders_from));
    let found = log::first_of_leaders(raft, &range)?
        .map_err(|source| CheckError::Record { what: "first entry of a leader", source })?;
    let differs = (0..).zip(expected.iter().zip(&found)).find(|(_, (a, b))| a != b);
    let at = differs.map_or(expected.len().min(found.len()), |(at, _)| at);
    match (expected.get(at), found.get(at)) {
        (None, None) => Ok(()),
        (expected, recorded) => {
            Err(CheckError::LogLeader { expected: expected.copied(), recorded: recorded.copied() })
        }
    }
}

/// Decodes the entries from one index to another, and returns the last one's id. `see` gets the
/// ids of those that can be decoded.
fn entries(
    raft: &dyn Read,
    id: PartitionId,
    from: u64,
    to: u64,
    mut see: impl FnMut(LogId),
) -> Result<LogId, CheckError> {
    let range = keys::log_entries_from(id, from);
    let mut expected = from;
    let mut result = Err(CheckError::LogGap { index: from });
    raft.scan(Table::Log, &range.start..&range.end, &mut |key, record| {
        result = entry(key, record, expected);
        expected = expected.saturating_add(1);
        let Ok(log_id) = result else { return ControlFlow::Break(()) };
        see(log_id);
        if log_id.index < to { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let last = result?;
    if last.index < to {
        return Err(CheckError::LogGap { index: expected });
    }
    Ok(last)
}

fn entry(key: &[u8], record: &[u8], expected: u64) -> Result<LogId, CheckError> {
    let index = keys::index_of_log_entry(key)
        .map_err(|source| CheckError::Record { what: "key of a log entry", source })?;
    if index != expected {
        return Err(CheckError::LogGap { index: expected });
    }
    let entry = codec::decode_entry(Bytes::copy_from_slice(record))
        .map_err(|source| CheckError::LogEntry { index, source })?;
    if entry.log_id.index != index {
        return Err(CheckError::LogGap { index });
    }
    Ok(entry.log_id)
}

fn in_order(
    (lower, lower_at): (&'static str, Option<LogId>),
    (upper, upper_at): (&'static str, Option<LogId>),
) -> Result<(), CheckError> {
    if lower_at <= upper_at {
        return Ok(());
    }
    Err(CheckError::Watermarks { lower, lower_at, upper, upper_at })
}
