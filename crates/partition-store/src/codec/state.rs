//! The records of `data/`: state, extents, runs, remembered requests and their
//! outcomes, and the pointer to the current generation.

use bytes::Bytes;
use partition_types::{Crc32c, Deleted, ExtentId, NodeId, Outcome, Rejection, RequestId};

use super::member::{read_membership, write_membership};
use super::{CodecError, Reader, Writer, frame};
use crate::state::{ExtentRecord, Reading, RequestRecord, RunRecord, StateRecord, WindowClock};

#[cfg(test)]
mod tests;

const VERSION: u8 = 1;
/// Version 1 had no clock of the window; its requests were stamped with the largest
/// time of any command, so that is what the clock showed.
const STATE_VERSION: u8 = 2;

const NOTHING: u8 = 0;
const CREATED: u8 = 1;
const STORED: u8 = 2;
const WRITTEN: u8 = 3;
const SEALED: u8 = 4;
const DELETED: u8 = 5;
const EXTENT_NOT_FOUND: u8 = 16;
const EXTENT_SEALED: u8 = 17;
const OFFSET_OUT_OF_RANGE: u8 = 18;
const TOO_LARGE: u8 = 19;
const STAGED_MISMATCH: u8 = 20;

pub(crate) fn encode_state(state: &StateRecord) -> Bytes {
    frame::seal(STATE_VERSION, |out| {
        out.option(state.applied, Writer::log_id);
        out.option(state.membership_log_id, Writer::log_id);
        write_membership(out, &state.membership);
        out.varint(state.next_extent_id);
        out.varint(state.extent_count);
        out.varint(state.staged_count);
        out.varint(state.size_bytes);
        out.varint(state.latest_at_ms);
        out.varint(state.request_count);
        out.varint(state.request_floor);
        out.varint(state.window.now_ms);
        out.option(state.window.reading, |out, reading| {
            out.varint(reading.term);
            // Node ids begin at 1.
            out.varint(reading.leader.map_or(0, NodeId::get));
            out.varint(reading.at_ms);
        });
    })
}

pub(crate) fn decode_state(record: &Bytes) -> Result<StateRecord, CodecError> {
    frame::open(record, STATE_VERSION, |version, body| {
        let mut state = StateRecord {
            applied: body.option(Reader::log_id)?,
            membership_log_id: body.option(Reader::log_id)?,
            membership: read_membership(body)?.into(),
            next_extent_id: match body.varint()? {
                0 => return Err(CodecError::Invalid("next extent id")),
                id => id,
            },
            extent_count: body.varint()?,
            staged_count: body.varint()?,
            size_bytes: body.varint()?,
            latest_at_ms: body.varint()?,
            request_count: body.varint()?,
            request_floor: body.varint()?,
            window: WindowClock::default(),
        };
        state.window = match version {
            1 => WindowClock { now_ms: state.latest_at_ms, reading: None },
            _ => WindowClock { now_ms: body.varint()?, reading: body.option(read_reading)? },
        };
        Ok(state)
    })
}

fn read_reading(body: &mut Reader) -> Result<Reading, CodecError> {
    Ok(Reading {
        term: body.varint()?,
        leader: NodeId::new(body.varint()?).ok(),
        at_ms: body.varint()?,
    })
}

pub(crate) fn encode_extent(extent: &ExtentRecord) -> Bytes {
    frame::seal(VERSION, |out| {
        out.varint(extent.size);
        out.varint(extent.stored_bytes);
        out.varint(extent.next_chunk_id);
        out.option(extent.running_crc32c, write_crc);
        out.option(extent.sealed_crc32c, write_crc);
        out.varint(extent.created_at_ms);
        out.varint(extent.modified_at_ms);
    })
}

pub(crate) fn decode_extent(record: &Bytes) -> Result<ExtentRecord, CodecError> {
    frame::open(record, VERSION, |_, body| {
        Ok(ExtentRecord {
            size: body.varint()?,
            stored_bytes: body.varint()?,
            next_chunk_id: body.varint()?,
            running_crc32c: body.option(read_crc)?,
            sealed_crc32c: body.option(read_crc)?,
            created_at_ms: body.varint()?,
            modified_at_ms: body.varint()?,
        })
    })
}

pub(crate) fn encode_run(run: &RunRecord) -> Bytes {
    frame::seal(VERSION, |out| {
        out.u32(run.len);
        out.varint(run.chunk_id);
        out.u32(run.skip);
        out.u32(run.chunk_len);
        write_crc(out, run.chunk_crc32c);
    })
}

pub(crate) fn decode_run(record: &Bytes) -> Result<RunRecord, CodecError> {
    frame::open(record, VERSION, |_, body| {
        Ok(RunRecord {
            len: body.u32()?,
            chunk_id: body.varint()?,
            skip: body.u32()?,
            chunk_len: body.u32()?,
            chunk_crc32c: read_crc(body)?,
        })
    })
}

pub(crate) fn encode_request(request: &RequestRecord) -> Bytes {
    frame::seal(VERSION, |out| {
        out.raw(request.request_id.as_bytes());
        out.varint(request.at_ms);
    })
}

pub(crate) fn decode_request(record: &Bytes) -> Result<RequestRecord, CodecError> {
    frame::open(record, VERSION, |_, body| {
        let request_id = RequestId::from_bytes(body.array()?);
        Ok(RequestRecord { request_id, at_ms: body.varint()? })
    })
}

pub(crate) fn encode_generation(generation: u32) -> Bytes {
    frame::seal(VERSION, |out| out.u32(generation))
}

pub(crate) fn decode_generation(record: &Bytes) -> Result<u32, CodecError> {
    frame::open(record, VERSION, |_, body| match body.u32()? {
        0 => Err(CodecError::Invalid("generation")),
        generation => Ok(generation),
    })
}

pub(crate) fn encode_outcome(outcome: &Outcome) -> Bytes {
    frame::seal(VERSION, |out| match outcome {
        Outcome::Nothing => out.u8(NOTHING),
        Outcome::Created { extent_id } => {
            out.u8(CREATED);
            out.varint(extent_id.get());
        }
        Outcome::Stored { extent_id, size, crc32c } => {
            out.u8(STORED);
            out.varint(extent_id.get());
            out.varint(*size);
            write_crc(out, *crc32c);
        }
        Outcome::Written { offset, size } => {
            out.u8(WRITTEN);
            out.varint(*offset);
            out.varint(*size);
        }
        Outcome::Sealed { size, crc32c } => {
            out.u8(SEALED);
            out.varint(*size);
            write_crc(out, *crc32c);
        }
        Outcome::Deleted(results) => {
            out.u8(DELETED);
            out.varint(results.len() as u64);
            for result in results {
                out.varint(result.extent_id.get());
                out.bool(result.found);
            }
        }
        Outcome::Rejected(rejection) => write_rejection(out, *rejection),
    })
}

fn write_rejection(out: &mut Writer, rejection: Rejection) {
    let (kind, extent_id) = match rejection {
        Rejection::ExtentNotFound(id) => (EXTENT_NOT_FOUND, id),
        Rejection::ExtentSealed(id) => (EXTENT_SEALED, id),
        Rejection::OffsetOutOfRange { extent_id, .. } => (OFFSET_OUT_OF_RANGE, extent_id),
        Rejection::TooLarge(id) => (TOO_LARGE, id),
        Rejection::StagedMismatch(id) => (STAGED_MISMATCH, id),
    };
    out.u8(kind);
    out.varint(extent_id.get());
    if let Rejection::OffsetOutOfRange { offset, size, .. } = rejection {
        out.varint(offset);
        out.varint(size);
    }
}

pub(crate) fn decode_outcome(record: &Bytes) -> Result<Outcome, CodecError> {
    frame::open(record, VERSION, |_, body| {
        Ok(match body.u8()? {
            NOTHING => Outcome::Nothing,
            CREATED => Outcome::Created { extent_id: read_extent_id(body)? },
            STORED => Outcome::Stored {
                extent_id: read_extent_id(body)?,
                size: body.varint()?,
                crc32c: read_crc(body)?,
            },
            WRITTEN => Outcome::Written { offset: body.varint()?, size: body.varint()? },
            SEALED => Outcome::Sealed { size: body.varint()?, crc32c: read_crc(body)? },
            DELETED => {
                let count = body.count(2)?;
                let read = |_| {
                    let extent_id = read_extent_id(body)?;
                    Ok(Deleted { extent_id, found: body.bool()? })
                };
                Outcome::Deleted((0..count).map(read).collect::<Result<_, CodecError>>()?)
            }
            kind => Outcome::Rejected(read_rejection(kind, body)?),
        })
    })
}

fn read_rejection(kind: u8, body: &mut Reader) -> Result<Rejection, CodecError> {
    let extent_id = read_extent_id(body)?;
    Ok(match kind {
        EXTENT_NOT_FOUND => Rejection::ExtentNotFound(extent_id),
        EXTENT_SEALED => Rejection::ExtentSealed(extent_id),
        OFFSET_OUT_OF_RANGE => {
            Rejection::OffsetOutOfRange { extent_id, offset: body.varint()?, size: body.varint()? }
        }
        TOO_LARGE => Rejection::TooLarge(extent_id),
        STAGED_MISMATCH => Rejection::StagedMismatch(extent_id),
        _ => return Err(CodecError::Invalid("kind of outcome")),
    })
}

fn write_crc(out: &mut Writer, crc32c: Crc32c) {
    out.u32(crc32c.get());
}

fn read_crc(body: &mut Reader) -> Result<Crc32c, CodecError> {
    Ok(Crc32c::from_u32(body.u32()?))
}

fn read_extent_id(body: &mut Reader) -> Result<ExtentId, CodecError> {
    ExtentId::new(body.varint()?).map_err(|_| CodecError::Invalid("extent id"))
}
