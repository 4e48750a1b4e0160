//! What is around a record's body: version in front, checksum behind.

use bytes::Bytes;
use partition_types::Crc32c;

use super::{CodecError, Reader, Writer};

const CRC_LEN: usize = 4;

/// Makes a record of what `body` writes.
pub(crate) fn seal(version: u8, body: impl FnOnce(&mut Writer)) -> Bytes {
    let mut out = Writer::with_capacity(64);
    out.u8(version);
    body(&mut out);
    let crc = Crc32c::of(out.as_slice());
    out.u32(crc.get());
    out.into_bytes()
}

/// Reads a record of at most `newest`; `body` gets its version and must read
/// all of it.
///
/// The version is looked at before the checksum: a newer format may sum up in
/// another way, and "newer" is what the operator has to know.
pub(crate) fn open<T>(
    record: &Bytes,
    newest: u8,
    body: impl FnOnce(u8, &mut Reader) -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    let version = *record.first().ok_or(CodecError::Truncated)?;
    if version > newest {
        return Err(CodecError::Newer { found: version, supported: newest });
    }
    if version == 0 {
        return Err(CodecError::Invalid("version"));
    }
    let body_end = record.len().checked_sub(CRC_LEN).ok_or(CodecError::Truncated)?;
    if body_end == 0 {
        return Err(CodecError::Truncated);
    }
    let mut crc = [0; CRC_LEN];
    crc.copy_from_slice(&record[body_end..]);
    let expected = u32::from_le_bytes(crc);
    let found = Crc32c::of(&record[..body_end]).get();
    if found != expected {
        return Err(CodecError::Checksum { expected, found });
    }
    let mut reader = Reader::new(record.slice(1..body_end));
    let value = body(version, &mut reader)?;
    reader.finish()?;
    Ok(value)
}
