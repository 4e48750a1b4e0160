//! A command's bytes, cut into chunks and checked against the command's sum.

use bytes::Bytes;
use partition_types::Crc32c;

use super::record::CHUNK_LEN_MAX;

/// Bytes to store, with a sum for each chunk.
pub(crate) struct Payload {
    data: Bytes,
    crc32c: Crc32c,
    chunk_crcs: Vec<Crc32c>,
}

impl Payload {
    /// Sums up every chunk; `None` when the whole is not what `claimed` says.
    pub(crate) fn new(data: Bytes, claimed: Crc32c) -> Option<Self> {
        let mut whole = Crc32c::EMPTY;
        let mut chunk_crcs = Vec::with_capacity(data.len().div_ceil(CHUNK_LEN_MAX));
        for chunk in data.chunks(CHUNK_LEN_MAX) {
            let crc = Crc32c::of(chunk);
            // Of the first chunk the combination is the sum itself.
            whole = if chunk_crcs.is_empty() {
                crc
            } else {
                whole.followed_by(crc, chunk.len() as u64)
            };
            chunk_crcs.push(crc);
        }
        (whole == claimed).then_some(Self { data, crc32c: whole, chunk_crcs })
    }

    pub(crate) fn len(&self) -> u64 {
        self.data.len() as u64
    }

    pub(crate) fn crc32c(&self) -> Crc32c {
        self.crc32c
    }

    /// The chunks, at most [`CHUNK_LEN_MAX`] long, sharing the payload's memory.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (Bytes, Crc32c)> {
        self.chunk_crcs.iter().enumerate().map(|(i, crc)| {
            let begin = i * CHUNK_LEN_MAX;
            let end = self.data.len().min(begin + CHUNK_LEN_MAX);
            (self.data.slice(begin..end), *crc)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_the_payload_in_order() {
        for len in [0, 1, CHUNK_LEN_MAX - 1, CHUNK_LEN_MAX, CHUNK_LEN_MAX + 1, 3 * CHUNK_LEN_MAX] {
            let data: Bytes = (0..=250).cycle().take(len).collect::<Vec<u8>>().into();
            let payload = Payload::new(data.clone(), Crc32c::of(&data)).expect("the sum is right");
            let mut joined = Vec::new();
            for (chunk, crc) in payload.chunks() {
                assert!(chunk.len() <= CHUNK_LEN_MAX && !chunk.is_empty());
                assert_eq!(crc, Crc32c::of(&chunk));
                joined.extend_from_slice(&chunk);
            }
            assert_eq!(joined, data, "of {len} bytes");
        }
    }

    #[test]
    fn another_sum_is_refused() {
        assert!(Payload::new(Bytes::from_static(b"abc"), Crc32c::of(b"abd")).is_none());
        assert!(Payload::new(Bytes::new(), Crc32c::of(b"abd")).is_none());
    }
}
