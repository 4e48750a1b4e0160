//! A batch being made: the state as it will be, one entry after the other.
//!
//! Deterministic: the outcome and the change depend on the state and the
//! entry alone, never on how entries were cut into batches, on a clock, or on
//! the order of a hash map.

use std::sync::Arc;

use bytes::Bytes;
use partition_types::{Command, Entry, ExtentId, Op, Outcome, Payload, Rejection};

use super::error::StateError;
use super::overlay::Overlay;
use super::record::{ExtentRecord, RunRecord, StateRecord, Visibility};
use super::requests::Oldest;
use super::space::Space;
use super::view::View;
use crate::codec;
use crate::engine::{Batch, Read, Table};

/// What an op came to: an outcome, a rejection, or a fault of this replica.
pub(crate) type Applied = Result<Result<Outcome, Rejection>, StateError>;

/// Changes on their way into one batch.
pub(crate) struct Work<'e> {
    pub(super) space: Space,
    pub(super) overlay: Overlay<'e>,
    pub(super) state: StateRecord,
    pub(super) oldest: Option<Oldest>,
    /// Payload that is deleted: the disk has it until it is told to look.
    pub(super) freed_bytes: u64,
}

impl<'e> Work<'e> {
    pub(crate) fn new(
        read: &'e dyn Read,
        space: Space,
        state: StateRecord,
        oldest: Option<Oldest>,
    ) -> Self {
        Self { space, overlay: Overlay::new(read), state, oldest, freed_bytes: 0 }
    }

    /// Applies one entry.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<Outcome, StateError> {
        if let Some(applied) = self.state.applied
            && entry.log_id.index <= applied.index
        {
            return Err(StateError::OutOfOrder { entry: entry.log_id, applied });
        }
        let outcome = match &entry.payload {
            Payload::Blank => Outcome::Nothing,
            Payload::Membership(membership) => {
                self.state.membership_log_id = Some(entry.log_id);
                self.state.membership = Arc::new(membership.clone());
                Outcome::Nothing
            }
            Payload::Command(command) => self.apply_command(entry, command)?,
        };
        self.state.applied = Some(entry.log_id);
        Ok(outcome)
    }

    fn apply_command(&mut self, entry: &Entry, command: &Command) -> Result<Outcome, StateError> {
        self.state.latest_at_ms = self.state.latest_at_ms.max(command.at_ms);
        self.state.window.read(entry.log_id, command.at_ms);
        if let Some(request_id) = &command.request_id
            && let Some(known) = self.view().outcome(request_id)?
        {
            self.forget_requests()?;
            return Ok(known);
        }
        let outcome = self.apply_op(entry, command)?.unwrap_or_else(Outcome::Rejected);
        if let Some(request_id) = command.request_id {
            self.remember(entry.log_id.index, request_id, &outcome);
        }
        self.forget_requests()?;
        Ok(outcome)
    }

    fn apply_op(&mut self, entry: &Entry, command: &Command) -> Applied {
        let at_ms = command.at_ms;
        // Fails here, before anything is changed: an intact entry carries the
        // sum that its proposer checked, so this replica's memory is at fault.
        let payload = |data: &Bytes, crc32c| {
            super::payload::Payload::new(data.clone(), crc32c)
                .ok_or(StateError::Payload(entry.log_id))
        };
        match &command.op {
            Op::Create => self.create(at_ms),
            Op::Put { data, crc32c } => self.store(at_ms, &payload(data, *crc32c)?),
            Op::Append { extent_id, data, crc32c } => {
                self.append(at_ms, *extent_id, &payload(data, *crc32c)?)
            }
            Op::Write { extent_id, offset, data, crc32c } => {
                self.write(at_ms, *extent_id, *offset, &payload(data, *crc32c)?)
            }
            Op::Seal { extent_id } => self.seal(at_ms, *extent_id),
            Op::Delete { extent_ids } => self.delete(extent_ids),
            Op::Stage => self.stage(at_ms),
            Op::StagePart { extent_id, offset, data, crc32c } => {
                self.stage_part(at_ms, *extent_id, *offset, &payload(data, *crc32c)?)
            }
            Op::Publish { extent_id, size, crc32c } => {
                self.publish(at_ms, *extent_id, *size, *crc32c)
            }
            Op::ExpireStaged { before_ms } => self.expire_staged(*before_ms),
        }
    }

    /// The state with the changes made so far.
    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.overlay, self.space)
    }

    /// About how large the batch has become.
    pub(crate) fn len_bytes(&self) -> usize {
        self.overlay.len_bytes()
    }

    pub(crate) fn freed_bytes(&self) -> u64 {
        self.freed_bytes
    }

    /// The batch, and the state it leads to.
    pub(crate) fn finish(mut self) -> (Batch, StateRecord, Option<Oldest>) {
        let record = codec::encode_state(&self.state);
        self.overlay.put(Table::StateMeta, self.space.state(), record);
        (self.overlay.into_batch(), self.state, self.oldest)
    }

    pub(super) fn put_extent(
        &mut self,
        id: ExtentId,
        visibility: Visibility,
        record: &ExtentRecord,
    ) {
        let key = self.space.extent(id, visibility);
        self.overlay.put(Table::StateMeta, key, codec::encode_extent(record));
    }

    pub(super) fn delete_extent_record(&mut self, id: ExtentId, visibility: Visibility) {
        self.overlay.delete(Table::StateMeta, self.space.extent(id, visibility));
    }

    pub(super) fn put_run(&mut self, id: ExtentId, offset: u64, run: &RunRecord) {
        let key = self.space.run(id, offset);
        self.overlay.put(Table::StateMeta, key, codec::encode_run(run));
    }

    pub(super) fn delete_run(&mut self, id: ExtentId, offset: u64) {
        self.overlay.delete(Table::StateMeta, self.space.run(id, offset));
    }

    pub(super) fn put_chunk(&mut self, id: ExtentId, chunk_id: u64, bytes: Bytes) {
        self.overlay.put(Table::Chunk, self.space.chunk(id, chunk_id), bytes);
    }

    pub(super) fn delete_chunk(&mut self, id: ExtentId, chunk_id: u64) {
        self.overlay.delete(Table::Chunk, self.space.chunk(id, chunk_id));
    }
}
