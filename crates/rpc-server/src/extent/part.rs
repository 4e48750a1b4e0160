//! Cuts the messages of an upload into parts of one size.
//!
//! Parts begin at multiples of [`PART_LEN`] however the client cut its
//! messages, so an upload that is repeated writes the same parts again.

use bytes::{Bytes, BytesMut};

/// The length of every part but the last, in bytes.
pub(crate) const PART_LEN: usize = 1024 * 1024;

/// Bytes on their way from messages to parts.
#[derive(Default)]
pub(super) struct Parts {
    rest: BytesMut,
}

impl Parts {
    /// Takes a message in and gives the parts that it completes.
    pub(super) fn push(&mut self, mut data: Bytes) -> Vec<Bytes> {
        let mut parts = Vec::new();
        if !self.rest.is_empty() {
            let missing = (PART_LEN - self.rest.len()).min(data.len());
            self.rest.extend_from_slice(&data.split_to(missing));
            if self.rest.len() == PART_LEN {
                parts.push(std::mem::take(&mut self.rest).freeze());
            }
        }
        while data.len() >= PART_LEN {
            parts.push(data.split_to(PART_LEN));
        }
        // Either the rest is empty, or the message is used up.
        if !data.is_empty() {
            self.rest.reserve(PART_LEN);
            self.rest.extend_from_slice(&data);
        }
        parts
    }

    /// The last part, if anything is left.
    pub(super) fn finish(self) -> Option<Bytes> {
        (!self.rest.is_empty()).then(|| self.rest.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message_lens: &[usize]) {
        let total: usize = message_lens.iter().sum();
        let content: Vec<u8> = (0..=250).cycle().take(total).collect();
        let mut parts = Parts::default();
        let mut cut = Vec::new();
        let mut rest = Bytes::from(content.clone());
        for len in message_lens {
            cut.extend(parts.push(rest.split_to(*len)));
        }
        cut.extend(parts.finish());
        let lens: Vec<usize> = cut.iter().map(Bytes::len).collect();
        let full = total / PART_LEN;
        assert!(lens[..full].iter().all(|len| *len == PART_LEN), "{message_lens:?}: {lens:?}");
        assert_eq!(cut.len(), total.div_ceil(PART_LEN), "{message_lens:?}");
        assert_eq!(cut.concat(), content, "{message_lens:?}");
    }

    #[test]
    fn parts_are_the_same_however_messages_are_cut() {
        check(&[]);
        check(&[0, 0]);
        check(&[1]);
        check(&[PART_LEN]);
        check(&[PART_LEN - 1, 1, 1]);
        check(&[PART_LEN + 1]);
        check(&[3 * PART_LEN + 17]);
        check(&[100, 3 * PART_LEN, 100]);
        check(&[700_000; 9]);
        check(&[PART_LEN / 2; 5]);
    }
}
