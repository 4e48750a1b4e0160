//! Bytes that can be made again from a seed: what is written, and what a read
//! is compared with.

use bytes::{BufMut, Bytes, BytesMut};

use crate::demo::chance::Chance;

/// Length of one version of a register, in bytes.
pub(super) const BLOCK_LEN_BYTES: usize = 1024;

/// The bytes from `start` on of the endless sequence that `seed` stands for:
/// each byte depends on its place, so bytes that moved are not the same.
pub(super) fn sequence(seed: u64, start: u64, len: usize) -> Bytes {
    let skip = usize::try_from(start % 8).expect("below 8");
    let mut bytes = BytesMut::with_capacity(len + 16);
    for word in start / 8.. {
        if bytes.len() >= skip + len {
            break;
        }
        bytes.put_u64_le(Chance::new(seed ^ word.rotate_left(20)).next());
    }
    bytes.truncate(skip + len);
    bytes.freeze().slice(skip..)
}

/// One version of a register.
pub(super) fn block(seed: u64, version: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(BLOCK_LEN_BYTES);
    bytes.put_u64_le(version);
    bytes.put(sequence(seed.wrapping_add(version), 0, BLOCK_LEN_BYTES - 8));
    bytes.freeze()
}

/// Which version these bytes are, whole and unmixed; `None`: no version at all.
pub(super) fn version_of(seed: u64, bytes: &[u8]) -> Option<u64> {
    let version = u64::from_le_bytes(*bytes.first_chunk()?);
    (bytes == block(seed, version)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_same_as_in_the_whole() {
        let whole = sequence(7, 0, 100);
        for (start, len) in [(0, 100), (1, 7), (8, 8), (13, 50), (99, 1), (50, 0)] {
            let end = start + len;
            assert_eq!(sequence(7, start as u64, len), whole[start..end], "{start} {len}");
        }
        assert_ne!(sequence(8, 0, 100), whole);
        assert_ne!(whole[..50], whole[50..], "it depends on the place");
    }

    #[test]
    fn a_block_says_its_version_and_torn_bytes_say_none() {
        assert_eq!(version_of(3, &block(3, 41)), Some(41));
        assert_eq!(version_of(4, &block(3, 41)), None, "of another register");
        let torn = [&block(3, 41)[..512], &block(3, 42)[512..]].concat();
        assert_eq!(version_of(3, &torn), None);
        assert_eq!(version_of(3, &block(3, 41)[..1000]), None);
        assert_eq!(version_of(3, &[]), None);
    }
}
