//! The extent state machine of one partition: applies entries in order, one
//! batch for as many as fit.
//!
//! Owned by one lock; nothing else writes the partition's current generation.

use std::sync::Arc;

use partition_types::{Entry, Outcome, PartitionId};

use super::error::StateError;
use super::generation;
use super::record::StateRecord;
use super::requests::Oldest;
use super::space::Space;
use super::view::View;
use super::work::Work;
use crate::engine::{Batch, Durability, Engine};

/// A batch is written when it is about this large.
const BATCH_LEN: usize = 8 * 1024 * 1024;

/// What became of some entries.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// One for each.
    pub(crate) outcomes: Vec<Outcome>,
    /// Written for them.
    pub(crate) written_bytes: u64,
    /// Payload that they deleted.
    pub(crate) freed_bytes: u64,
}

/// Why a machine takes nothing any more.
#[derive(Debug, Clone, Copy)]
enum Stopped {
    /// A write failed: what the disk has is no longer known.
    Failed,
    /// The partition is deleted: what is written now would be left over.
    Closed,
}

/// The single writer of a partition's state.
pub(crate) struct Machine {
    engine: Arc<dyn Engine>,
    space: Space,
    state: StateRecord,
    oldest: Option<Oldest>,
    /// The generation that the next incoming snapshot is staged in.
    next_generation: u32,
    stopped: Option<Stopped>,
}

impl Machine {
    /// Opens the state as the last flush left it, and discards what an
    /// interrupted install left beside it. A few point reads.
    pub(crate) fn open(engine: Arc<dyn Engine>, id: PartitionId) -> Result<Self, StateError> {
        let space = Space::new(id, generation::current(engine.as_ref(), id)?);
        generation::discard_others(engine.as_ref(), space)?;
        let view = View::new(engine.as_ref(), space);
        let state = view.state()?;
        let oldest = Oldest::find(view, state.request_floor)?;
        Ok(Self {
            space,
            state,
            oldest,
            next_generation: space.generation + 1,
            stopped: None,
            engine,
        })
    }

    pub(crate) fn state(&self) -> &StateRecord {
        &self.state
    }

    /// Applies entries in order.
    ///
    /// After an error nothing of the batch in the making is there, and batches
    /// before it are; a failed write is final.
    pub(crate) fn apply(&mut self, entries: &[Entry]) -> Result<Applied, StateError> {
        let mut applied = Applied::default();
        let mut rest = entries;
        while !rest.is_empty() {
            self.check_writable()?;
            let read = self.engine.as_ref();
            let mut work = Work::new(read, self.space, self.state.clone(), self.oldest);
            while let [entry, after @ ..] = rest {
                applied.outcomes.push(work.apply(entry)?);
                rest = after;
                if work.len_bytes() >= BATCH_LEN {
                    break;
                }
            }
            applied.written_bytes += work.len_bytes() as u64;
            applied.freed_bytes += work.freed_bytes();
            let (batch, state, oldest) = work.finish();
            if let Err(error) = self.engine.write(&batch, Durability::Buffered) {
                self.stopped = Some(Stopped::Failed);
                return Err(error.into());
            }
            self.state = state;
            self.oldest = oldest;
        }
        Ok(applied)
    }

    /// Refuses everything from now on; nothing is being written when it returns.
    pub(crate) fn close(&mut self) {
        self.stopped = Some(Stopped::Closed);
    }

    /// Writes records of a staged generation.
    pub(crate) fn write_staged(&self, batch: &Batch) -> Result<(), StateError> {
        self.check_writable()?;
        Ok(self.engine.write(batch, Durability::Buffered)?)
    }

    fn check_writable(&self) -> Result<(), StateError> {
        match self.stopped {
            None => Ok(()),
            Some(Stopped::Failed) => Err(StateError::Failed),
            Some(Stopped::Closed) => Err(StateError::Closed),
        }
    }

    /// A generation for an incoming snapshot, used by nobody else.
    pub(crate) fn reserve_generation(&mut self) -> Space {
        let space = Space::new(self.space.partition_id, self.next_generation);
        self.next_generation += 1;
        space
    }

    /// Makes a staged generation the current one; the old one's records stay.
    pub(crate) fn switch_to(
        &mut self,
        space: Space,
        state: StateRecord,
    ) -> Result<Space, StateError> {
        self.check_writable()?;
        let view = View::new(self.engine.as_ref(), space);
        let oldest = Oldest::find(view, state.request_floor)?;
        let batch = generation::switch(space, &state);
        if let Err(error) = self.engine.write(&batch, Durability::Buffered) {
            self.stopped = Some(Stopped::Failed);
            return Err(error.into());
        }
        self.oldest = oldest;
        self.state = state;
        Ok(std::mem::replace(&mut self.space, space))
    }
}
