//! Log entries: what the log stores and what goes to followers is the same.
//!
//! The payload is the last field and is never copied: an encoded entry refers to
//! it, a decoded one is a slice of what it was decoded from.

use bytes::Bytes;
use partition_types::{Command, Crc32c, Entry, ExtentId, Op, Payload, RequestId};

use super::member::{read_membership, write_membership};
use super::{CodecError, Reader, Writer, frame};
use crate::engine::Value;

const VERSION: u8 = 1;

const BLANK: u8 = 0;
const MEMBERSHIP: u8 = 1;
const COMMAND: u8 = 2;

const CREATE: u8 = 1;
const PUT: u8 = 2;
const APPEND: u8 = 3;
const WRITE: u8 = 4;
const SEAL: u8 = 5;
const DELETE: u8 = 6;
const STAGE: u8 = 7;
const STAGE_PART: u8 = 8;
const PUBLISH: u8 = 9;
const EXPIRE_STAGED: u8 = 10;

/// Encodes an entry in one piece.
#[must_use]
pub fn encode_entry(entry: &Entry) -> Bytes {
    let value = entry_value(entry);
    let mut out = Vec::with_capacity(value.len());
    value.write_to(&mut out);
    out.into()
}

/// Encodes an entry around its payload, which is not copied.
pub(crate) fn entry_value(entry: &Entry) -> Value {
    let mut head = Writer::with_capacity(64);
    head.u8(VERSION);
    head.log_id(entry.log_id);
    let mut body = Bytes::new();
    match &entry.payload {
        Payload::Blank => head.u8(BLANK),
        Payload::Membership(membership) => {
            head.u8(MEMBERSHIP);
            write_membership(&mut head, membership);
        }
        Payload::Command(command) => {
            head.u8(COMMAND);
            body = write_command(&mut head, command);
        }
    }
    let crc = Crc32c::of_parts([head.as_slice(), &body]);
    let tail = Bytes::copy_from_slice(&crc.get().to_le_bytes());
    Value::Parts { head: head.into_bytes(), body, tail }
}

/// Decodes an entry; its payload is a slice of `record`.
///
/// # Errors
/// [`CodecError`] when the bytes are not an entry, or not whole.
#[expect(clippy::needless_pass_by_value, reason = "what is decoded may keep the bytes")]
pub fn decode_entry(record: Bytes) -> Result<Entry, CodecError> {
    frame::open(&record, VERSION, |_, body| {
        let log_id = body.log_id()?;
        let payload = match body.u8()? {
            BLANK => Payload::Blank,
            MEMBERSHIP => Payload::Membership(read_membership(body)?),
            COMMAND => Payload::Command(read_command(body)?),
            _ => return Err(CodecError::Invalid("kind of entry")),
        };
        Ok(Entry { log_id, payload })
    })
}

/// Writes all but the payload, and returns that.
fn write_command(out: &mut Writer, command: &Command) -> Bytes {
    out.option(command.request_id, |out, id| out.raw(id.as_bytes()));
    out.varint(command.at_ms);
    match &command.op {
        Op::Create => out.u8(CREATE),
        Op::Put { data, crc32c } => {
            out.u8(PUT);
            return write_data(out, data, *crc32c);
        }
        Op::Append { extent_id, data, crc32c } => {
            out.u8(APPEND);
            out.varint(extent_id.get());
            return write_data(out, data, *crc32c);
        }
        Op::Write { extent_id, offset, data, crc32c } => {
            out.u8(WRITE);
            out.varint(extent_id.get());
            out.varint(*offset);
            return write_data(out, data, *crc32c);
        }
        Op::Seal { extent_id } => {
            out.u8(SEAL);
            out.varint(extent_id.get());
        }
        Op::Delete { extent_ids } => {
            out.u8(DELETE);
            out.varint(extent_ids.len() as u64);
            for extent_id in extent_ids {
                out.varint(extent_id.get());
            }
        }
        Op::Stage => out.u8(STAGE),
        Op::StagePart { extent_id, offset, data, crc32c } => {
            out.u8(STAGE_PART);
            out.varint(extent_id.get());
            out.varint(*offset);
            return write_data(out, data, *crc32c);
        }
        Op::Publish { extent_id, size, crc32c } => {
            out.u8(PUBLISH);
            out.varint(extent_id.get());
            out.varint(*size);
            out.u32(crc32c.get());
        }
        Op::ExpireStaged { before_ms } => {
            out.u8(EXPIRE_STAGED);
            out.varint(*before_ms);
        }
    }
    Bytes::new()
}

fn write_data(out: &mut Writer, data: &Bytes, crc32c: Crc32c) -> Bytes {
    out.u32(crc32c.get());
    out.varint(data.len() as u64);
    data.clone()
}

fn read_command(body: &mut Reader) -> Result<Command, CodecError> {
    let request_id = body.option(Reader::array)?.map(RequestId::from_bytes);
    let at_ms = body.varint()?;
    Ok(Command { request_id, at_ms, op: read_op(body)? })
}

fn read_op(body: &mut Reader) -> Result<Op, CodecError> {
    Ok(match body.u8()? {
        CREATE => Op::Create,
        PUT => {
            let (crc32c, data) = read_data(body)?;
            Op::Put { data, crc32c }
        }
        APPEND => {
            let extent_id = read_extent_id(body)?;
            let (crc32c, data) = read_data(body)?;
            Op::Append { extent_id, data, crc32c }
        }
        WRITE => {
            let (extent_id, offset) = (read_extent_id(body)?, body.varint()?);
            let (crc32c, data) = read_data(body)?;
            Op::Write { extent_id, offset, data, crc32c }
        }
        SEAL => Op::Seal { extent_id: read_extent_id(body)? },
        DELETE => {
            let count = body.count(1)?;
            let extent_ids =
                (0..count).map(|_| read_extent_id(body)).collect::<Result<_, CodecError>>()?;
            Op::Delete { extent_ids }
        }
        STAGE => Op::Stage,
        STAGE_PART => {
            let (extent_id, offset) = (read_extent_id(body)?, body.varint()?);
            let (crc32c, data) = read_data(body)?;
            Op::StagePart { extent_id, offset, data, crc32c }
        }
        PUBLISH => Op::Publish {
            extent_id: read_extent_id(body)?,
            size: body.varint()?,
            crc32c: Crc32c::from_u32(body.u32()?),
        },
        EXPIRE_STAGED => Op::ExpireStaged { before_ms: body.varint()? },
        _ => return Err(CodecError::Invalid("kind of command")),
    })
}

fn read_data(body: &mut Reader) -> Result<(Crc32c, Bytes), CodecError> {
    let crc32c = Crc32c::from_u32(body.u32()?);
    Ok((crc32c, body.bytes()?))
}

fn read_extent_id(body: &mut Reader) -> Result<ExtentId, CodecError> {
    ExtentId::new(body.varint()?).map_err(|_| CodecError::Invalid("extent id"))
}
