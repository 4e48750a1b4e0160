//! The chunks of a snapshot stream.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of the format |
//! | 1 | kind: header, records, trailer |
//! | 4 | number of the chunk in the stream, from 0 |
//! | 4 | length of the payload |
//! | … | payload |
//! | 4 | CRC-32C of all of the above |
//!
//! Numbers are little-endian. The number in the stream finds lost, repeated and
//! swapped chunks, the trailer a stream that was cut.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use partition_types::Crc32c;

/// The one version there is.
const VERSION: u8 = 1;

/// A chunk is never longer, so that it fits into one message.
pub(super) const CHUNK_LEN_MAX: usize = 1024 * 1024;

/// What a chunk has beside its payload.
const FRAME_LEN: usize = 1 + 1 + 4 + 4 + 4;

/// The longest payload.
pub(super) const PAYLOAD_LEN_MAX: usize = CHUNK_LEN_MAX - FRAME_LEN;

/// What a chunk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Header = 1,
    Records = 2,
    Trailer = 3,
}

/// Why a stream is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("snapshot chunk {number} is damaged: {problem}")]
    Damaged { number: u32, problem: &'static str },
    #[error("the snapshot has format version {0}, this node reads version {VERSION}")]
    NewerFormat(u8),
    #[error("the snapshot is of partition {0}")]
    OtherPartition(u64),
    #[error("snapshot chunk {number} does not fit: {problem}")]
    OutOfPlace { number: u32, problem: &'static str },
}

/// Makes a chunk; `payload` is at most [`PAYLOAD_LEN_MAX`] long.
pub(super) fn encode(kind: Kind, number: u32, payload: &[u8]) -> Bytes {
    let len = u32::try_from(payload.len()).expect("a payload is less than a MiB long");
    let mut chunk = BytesMut::with_capacity(FRAME_LEN + payload.len());
    chunk.put_u8(VERSION);
    chunk.put_u8(kind as u8);
    chunk.put_u32_le(number);
    chunk.put_u32_le(len);
    chunk.put_slice(payload);
    let crc = Crc32c::of(&chunk);
    chunk.put_u32_le(crc.get());
    chunk.freeze()
}

/// Takes the chunk that must be the `number`th apart; the payload is a slice
/// of it.
pub(super) fn decode(mut chunk: Bytes, number: u32) -> Result<(Kind, Bytes), Refused> {
    let damaged = |problem| Refused::Damaged { number, problem };
    if chunk.len() < FRAME_LEN || chunk.len() > CHUNK_LEN_MAX {
        return Err(damaged("its length is impossible"));
    }
    if chunk[0] != VERSION {
        return Err(Refused::NewerFormat(chunk[0]));
    }
    let mut sum = chunk.split_off(chunk.len() - 4);
    if Crc32c::of(&chunk).get() != sum.get_u32_le() {
        return Err(damaged("it does not match its checksum"));
    }
    chunk.advance(1);
    let kind = match chunk.get_u8() {
        1 => Kind::Header,
        2 => Kind::Records,
        3 => Kind::Trailer,
        _ => return Err(damaged("its kind is unknown")),
    };
    if chunk.get_u32_le() != number {
        return Err(Refused::OutOfPlace { number, problem: "another chunk was expected" });
    }
    if chunk.get_u32_le() as usize != chunk.len() {
        return Err(damaged("its payload has another length"));
    }
    Ok((kind, chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_these() {
        let chunk = encode(Kind::Records, 0x0102, b"abc");
        let crc = Crc32c::of(&chunk[..13]).get().to_le_bytes();
        assert_eq!(chunk[..13], *b"\x01\x02\x02\x01\x00\x00\x03\x00\x00\x00abc");
        assert_eq!(chunk[13..], crc);
        assert_eq!(decode(chunk, 0x0102), Ok((Kind::Records, Bytes::from_static(b"abc"))));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let chunk = encode(Kind::Trailer, 7, b"payload");
        for bit in 0..chunk.len() * 8 {
            let mut flipped = chunk.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(flipped.into(), 7).is_err(), "bit {bit}");
        }
        for len in 0..chunk.len() {
            assert!(decode(chunk.slice(..len), 7).is_err(), "cut at {len}");
        }
        assert!(matches!(decode(chunk, 8), Err(Refused::OutOfPlace { .. })));
    }
}
