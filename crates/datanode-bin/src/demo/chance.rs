//! Chance that can be had again: bytes and choices from a seed.

use bytes::{Bytes, BytesMut};

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough to spread
/// a load.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is above 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of `all`, if there is one.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.next()).unwrap_or(usize::MAX);
        index.checked_rem(all.len()).map(|index| &all[index])
    }
}

/// Bytes that only their seed can give again.
pub(crate) fn bytes_of(seed: u64, len: usize) -> Bytes {
    let mut chance = Chance::new(seed);
    let mut bytes = BytesMut::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&chance.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        for len in [0, 1, 7, 8, 9, 4096] {
            assert_eq!(bytes_of(5, len), bytes_of(5, len));
            assert_eq!(bytes_of(5, len).len(), len);
        }
        assert_ne!(bytes_of(5, 64), bytes_of(6, 64));
        assert_eq!(Chance::new(1).pick::<u8>(&[]), None);
    }
}
