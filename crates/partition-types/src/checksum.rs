//! CRC-32C (Castagnoli, RFC 3720): one polynomial for disk, wire and clients.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

const ALGORITHM: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;

/// A CRC-32C.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Crc32c(u32);

impl Crc32c {
    /// Of no bytes at all.
    pub const EMPTY: Self = Self(0);

    /// Takes a sum made elsewhere.
    #[must_use]
    pub const fn from_u32(sum: u32) -> Self {
        Self(sum)
    }

    /// The sum of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(narrow(crc_fast::checksum(ALGORITHM, data)))
    }

    /// The sum of several slices, one after the other.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Digest::new(ALGORITHM);
        for part in parts {
            digest.update(part);
        }
        Self(narrow(digest.finalize()))
    }

    /// The sum of this sum's bytes followed by `next_len` bytes that sum to
    /// `next`, without seeing either.
    #[must_use]
    pub fn followed_by(self, next: Self, next_len: u64) -> Self {
        if next_len == 0 {
            return self;
        }
        let both = crc_fast::checksum_combine(ALGORITHM, self.0.into(), next.0.into(), next_len);
        Self(narrow(both))
    }

    /// The sum as the wire has it.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// crc-fast returns every width as 64 bits.
fn narrow(sum: u64) -> u32 {
    u32::try_from(sum).expect("a 32-bit CRC fits into 32 bits")
}

impl fmt::Display for Crc32c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crc32c({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_sum_of_rfc_3720() {
        // RFC 3720, B.4: 32 bytes of zeroes, and the classic check value.
        assert_eq!(Crc32c::of(&[0; 32]).get(), 0x8a91_36aa);
        assert_eq!(Crc32c::of(b"123456789").get(), 0xe306_9283);
        assert_eq!(Crc32c::of(b""), Crc32c::EMPTY);
    }

    #[test]
    fn combines_like_the_whole() {
        let whole: Vec<u8> = (0..100_000u32).map(|i| (i * 31 % 251) as u8).collect();
        for cut in [0, 1, 63, 4096, 99_999, 100_000] {
            let (a, b) = whole.split_at(cut);
            let combined = Crc32c::of(a).followed_by(Crc32c::of(b), b.len() as u64);
            assert_eq!(combined, Crc32c::of(&whole), "cut at {cut}");
            assert_eq!(Crc32c::of_parts([a, b]), Crc32c::of(&whole));
        }
    }
}
