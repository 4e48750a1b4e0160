//! The items of a snapshot's records chunks.
//!
//! An item is a tag and its fields; runs belong to the extent before them,
//! chunks to the run before them. The records themselves are those of `data/`,
//! with their own version and checksum.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use partition_types::{ExtentId, Outcome};

use crate::codec;
use crate::state::{ExtentRecord, RequestRecord, RunRecord, Visibility};

const VISIBLE_EXTENT: u8 = 1;
const STAGED_EXTENT: u8 = 2;
const RUN: u8 = 3;
const CHUNK: u8 = 4;
const REQUEST: u8 = 5;

/// One item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Extent { visibility: Visibility, id: ExtentId, extent: ExtentRecord },
    Run { offset: u64, run: RunRecord },
    Chunk(Bytes),
    Request { index: u64, request: RequestRecord, outcome: Outcome },
}

impl Item {
    /// Its bytes in the stream.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Item::Extent { visibility, id, extent } => {
                out.put_u8(match visibility {
                    Visibility::Visible => VISIBLE_EXTENT,
                    Visibility::Staged => STAGED_EXTENT,
                });
                out.put_u64_le(id.get());
                put_field(out, &codec::encode_extent(extent));
            }
            Item::Run { offset, run } => {
                out.put_u8(RUN);
                out.put_u64_le(*offset);
                put_field(out, &codec::encode_run(run));
            }
            Item::Chunk(bytes) => {
                out.put_u8(CHUNK);
                put_field(out, bytes);
            }
            Item::Request { index, request, outcome } => {
                out.put_u8(REQUEST);
                out.put_u64_le(*index);
                put_field(out, &codec::encode_request(request));
                put_field(out, &codec::encode_outcome(outcome));
            }
        }
    }

    /// Takes the next item off `input`; `None` when it is none.
    pub(super) fn decode(input: &mut Bytes) -> Option<Item> {
        let tag = take_u8(input)?;
        Some(match tag {
            VISIBLE_EXTENT | STAGED_EXTENT => {
                let visibility =
                    if tag == STAGED_EXTENT { Visibility::Staged } else { Visibility::Visible };
                let id = ExtentId::new(take_u64(input)?).ok()?;
                let extent = codec::decode_extent(&take_field(input)?).ok()?;
                Item::Extent { visibility, id, extent }
            }
            RUN => {
                let offset = take_u64(input)?;
                Item::Run { offset, run: codec::decode_run(&take_field(input)?).ok()? }
            }
            CHUNK => Item::Chunk(take_field(input)?),
            REQUEST => {
                let index = take_u64(input)?;
                let request = codec::decode_request(&take_field(input)?).ok()?;
                let outcome = codec::decode_outcome(&take_field(input)?).ok()?;
                Item::Request { index, request, outcome }
            }
            _ => return None,
        })
    }
}

fn put_field(out: &mut BytesMut, field: &[u8]) {
    out.put_u32_le(u32::try_from(field.len()).expect("a field is less than a MiB long"));
    out.put_slice(field);
}

fn take_u8(input: &mut Bytes) -> Option<u8> {
    input.try_get_u8().ok()
}

fn take_u64(input: &mut Bytes) -> Option<u64> {
    input.try_get_u64_le().ok()
}

fn take_field(input: &mut Bytes) -> Option<Bytes> {
    let len = input.try_get_u32_le().ok()? as usize;
    (len <= input.len()).then(|| input.split_to(len))
}

#[cfg(test)]
mod tests {
    use partition_types::{Crc32c, RequestId};

    use super::*;

    #[track_caller]
    fn check(item: Item, expected: &str) {
        let mut out = BytesMut::new();
        item.encode(&mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        let whole = out.freeze();
        let mut input = [&whole[..], b"rest"].concat().into();
        assert_eq!(Item::decode(&mut input), Some(item));
        assert_eq!(input, "rest");
        for len in 0..whole.len() {
            assert_eq!(Item::decode(&mut whole.slice(..len)), None, "cut at {len}");
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let id = ExtentId::new(0x0102).unwrap();
        let extent = ExtentRecord::empty(5);
        check(
            Item::Extent { visibility: Visibility::Visible, id, extent },
            "01020100000000000010000000010000010100000000000505b527cacf",
        );
        check(
            Item::Extent { visibility: Visibility::Staged, id, extent },
            "02020100000000000010000000010000010100000000000505b527cacf",
        );
        let run = RunRecord {
            len: 1,
            chunk_id: 2,
            skip: 3,
            chunk_len: 4,
            chunk_crc32c: Crc32c::from_u32(5),
        };
        check(
            Item::Run { offset: 0x0304, run },
            "03040300000000000016000000010100000002030000000400000005000000ec06e42c",
        );
        check(Item::Chunk(Bytes::from_static(b"abc")), "0403000000616263");
        let request = RequestRecord { request_id: RequestId::from_bytes([6; 16]), at_ms: 7 };
        let outcome = Outcome::Created { extent_id: id };
        check(
            Item::Request { index: 8, request, outcome },
            "05080000000000000016000000010606060606060606060606060606060607cfadf8e10800000001018202e1c9de0d",
        );
    }

    #[test]
    fn unknown_items_are_none() {
        for bytes in ["\0", "\u{6}", "\u{7f}abcdefgh"] {
            assert_eq!(Item::decode(&mut Bytes::from_static(bytes.as_bytes())), None);
        }
    }
}
