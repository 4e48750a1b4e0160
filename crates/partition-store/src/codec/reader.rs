//! Reads the parts of a record.

use bytes::{Buf, Bytes};
use partition_types::{LogId, NodeId};

use super::CodecError;

/// What is left of a record's body.
#[derive(Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(body: Bytes) -> Self {
        Self(body)
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        self.0.try_get_u8().map_err(|_| CodecError::Truncated)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Invalid("flag")),
        }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.0.try_get_u32_le().map_err(|_| CodecError::Truncated)
    }

    /// Only the shortest form is taken, so that a value has one encoding.
    pub(crate) fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(CodecError::Invalid("number"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Invalid("number"))
    }

    /// How many elements follow, each of at least `least_len` bytes: no more
    /// than fit into what is left.
    pub(crate) fn count(&mut self, least_len: usize) -> Result<usize, CodecError> {
        let count = usize::try_from(self.varint()?).map_err(|_| CodecError::Truncated)?;
        match count.checked_mul(least_len) {
            Some(len_bytes) if len_bytes <= self.remaining() => Ok(count),
            _ => Err(CodecError::Truncated),
        }
    }

    /// Bytes of a known length; a slice of the record, no copy.
    pub(crate) fn raw(&mut self, len_bytes: usize) -> Result<Bytes, CodecError> {
        if len_bytes > self.remaining() {
            return Err(CodecError::Truncated);
        }
        Ok(self.0.split_to(len_bytes))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.raw(N)?);
        Ok(array)
    }

    /// Bytes with their length in front; a slice of the record, no copy.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let len_bytes = self.count(1)?;
        self.raw(len_bytes)
    }

    pub(crate) fn string(&mut self) -> Result<String, CodecError> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| CodecError::Invalid("text"))
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn node_id(&mut self) -> Result<NodeId, CodecError> {
        NodeId::new(self.varint()?).map_err(|_| CodecError::Invalid("node id"))
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, CodecError> {
        let term = self.varint()?;
        // Node ids begin at 1: 0 is none.
        let leader = NodeId::new(self.varint()?).ok();
        let index = self.varint()?;
        Ok(LogId { term, leader, index })
    }

    /// # Errors
    /// When something is left.
    pub(crate) fn finish(self) -> Result<(), CodecError> {
        match self.remaining() {
            0 => Ok(()),
            rest => Err(CodecError::TooLong(rest)),
        }
    }
}
