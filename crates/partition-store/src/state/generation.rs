//! Generations: a partition's state lives under one number at a time.
//!
//! An incoming snapshot is written under a new number beside the current one;
//! one small batch makes it the current one, and the old one is deleted
//! afterwards. What a crash leaves under other numbers is discarded when the
//! partition is opened.

use std::ops::ControlFlow;

use partition_types::PartitionId;

use super::error::StateError;
use super::record::StateRecord;
use super::space::Space;
use crate::codec;
use crate::engine::{Batch, Durability, Engine, EngineError, Read, Table};
use crate::keys;

/// The generation of a partition that never installed a snapshot.
pub(crate) const FIRST: u32 = 1;

/// The current generation.
pub(crate) fn current(read: &dyn Read, id: PartitionId) -> Result<u32, StateError> {
    match read.get(Table::StateMeta, &keys::generation_pointer(id))? {
        None => Ok(FIRST),
        Some(value) => codec::decode_generation(&value).map_err(|source| StateError::Record {
            what: "generation pointer",
            partition_id: id,
            source,
        }),
    }
}

/// The batch that makes a staged generation the current one.
pub(crate) fn switch(space: Space, state: &StateRecord) -> Batch {
    let mut batch = Batch::default();
    batch.put(Table::StateMeta, space.state(), codec::encode_state(state));
    let pointer = keys::generation_pointer(space.partition_id);
    batch.put(Table::StateMeta, pointer, codec::encode_generation(space.generation));
    batch
}

/// Deletes a generation that is not, or no longer, the current one.
pub(crate) fn discard(engine: &dyn Engine, space: Space) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    for table in [Table::StateMeta, Table::Chunk] {
        let range = space.all();
        batch.delete_range(table, &range.start, &range.end);
    }
    engine.write(&batch, Durability::Buffered)
}

/// Deletes every generation but `kept`.
pub(crate) fn discard_others(engine: &dyn Engine, kept: Space) -> Result<(), StateError> {
    for space in others(engine, kept)? {
        tracing::info!(
            partition = %space.partition_id,
            generation = space.generation,
            "discard what an interrupted snapshot install left"
        );
        discard(engine, space)?;
    }
    Ok(())
}

/// The generations that are there beside `kept`: one seek each, and one or two more.
///
/// A look at one table finds them all: no chunk is written before the run that
/// maps it, and what is deleted is deleted in both tables at once.
pub(crate) fn others(read: &dyn Read, kept: Space) -> Result<Vec<Space>, StateError> {
    let mut found = Vec::new();
    // None is below the first one. A seek that finds only the kept one reads a block of it.
    let mut from = if kept.generation == FIRST { FIRST + 1 } else { FIRST };
    loop {
        let range = keys::generations_from(kept.partition_id, from);
        let mut next = None;
        read.scan(Table::StateMeta, &range.start..&range.end, &mut |key, _| {
            next = Some(keys::generation_of(key));
            ControlFlow::Break(())
        })?;
        let Some(next) = next else { return Ok(found) };
        let generation = next.map_err(|source| StateError::Record {
            what: "state key",
            partition_id: kept.partition_id,
            source,
        })?;
        let space = Space::new(kept.partition_id, generation);
        if space != kept {
            found.push(space);
        }
        let Some(after) = space.generation.checked_add(1) else { return Ok(found) };
        from = after;
    }
}
