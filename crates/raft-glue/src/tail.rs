//! How far a log may be purged without forcing a snapshot on every follower
//! that was away for a moment.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Never keep more entries than this, however small they are.
const ENTRIES_MAX: u64 = 4096;
/// One mark for about this many bytes.
const MARK_BYTES: u64 = 64 << 10;

/// The sizes of the entries appended since start, to within [`MARK_BYTES`].
#[derive(Default)]
pub(crate) struct TailBytes(Mutex<Marks>);

#[derive(Default)]
struct Marks {
    /// `(index, bytes)`: all entries below the index that were appended since
    /// start add up to the bytes. Both ascend.
    marks: VecDeque<(u64, u64)>,
    next_index: u64,
    bytes: u64,
}

impl TailBytes {
    /// Takes the indexes and sizes of appended entries, in order.
    pub(crate) fn append(&self, entries: impl Iterator<Item = (u64, usize)>) {
        let mut tail = self.0.lock();
        for (index, len_bytes) in entries {
            let due = tail.marks.back().is_none_or(|(_, at)| tail.bytes >= at + MARK_BYTES);
            if due {
                let mark = (index, tail.bytes);
                tail.marks.push_back(mark);
            }
            tail.bytes += len_bytes as u64;
            tail.next_index = index + 1;
        }
    }

    /// Forgets the entries from `from_index` on. Their bytes stay counted until
    /// the next mark is passed: the estimate errs towards keeping less.
    pub(crate) fn truncate(&self, from_index: u64) {
        let mut tail = self.0.lock();
        while tail.marks.back().is_some_and(|(index, _)| *index >= from_index) {
            if let Some((_, bytes)) = tail.marks.pop_back() {
                tail.bytes = bytes;
            }
        }
        tail.next_index = tail.next_index.min(from_index);
    }

    /// The last index that may be purged when about `keep_bytes` of the log
    /// are to stay; `None` while the log is shorter than that.
    pub(crate) fn purgeable(&self, keep_bytes: u64) -> Option<u64> {
        let mut tail = self.0.lock();
        let by_count = tail.next_index.saturating_sub(ENTRIES_MAX);
        let spare = tail.bytes.saturating_sub(keep_bytes);
        let past = tail.marks.partition_point(|(_, bytes)| *bytes <= spare);
        let by_bytes = match past.checked_sub(1) {
            Some(mark) if spare > 0 => tail.marks[mark].0,
            _ => 0,
        };
        // Marks below the answer were for this question only.
        tail.marks.drain(..past.saturating_sub(1));
        by_bytes.max(by_count).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_about_the_bytes_it_was_told() {
        let tail = TailBytes::default();
        assert_eq!(tail.purgeable(1 << 20), None, "nothing there");
        tail.append((0..16).map(|index| (index, 128 << 10)));
        assert_eq!(tail.purgeable(2 << 20), None, "all of it is to stay");
        // 16 entries of 128 KiB, 1 MiB of them stays: 8 entries, up to one mark more.
        let upto = tail.purgeable(1 << 20).unwrap();
        assert!((6..=7).contains(&upto), "{upto}");
        tail.truncate(10);
        tail.append((10..12).map(|index| (index, 128 << 10)));
        let upto = tail.purgeable(512 << 10).unwrap();
        assert!((6..=7).contains(&upto), "{upto}");
    }

    #[test]
    fn small_entries_are_bounded_by_their_count() {
        let tail = TailBytes::default();
        tail.append((0..10_000).map(|index| (index, 1)));
        assert_eq!(tail.purgeable(8 << 20), Some(10_000 - ENTRIES_MAX - 1));
    }
}
