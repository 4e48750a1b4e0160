//! Changes on their way into one batch, laid over the engine: a command sees
//! what the commands before it in the same batch did.
//!
//! Kept as final values by key, so that what one batch writes and overwrites
//! again costs the disk nothing.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use crate::engine::{Batch, EngineError, Read, Table, Visit};

/// Pending changes of the two tables of `data/`.
pub(crate) struct Overlay<'e> {
    below: &'e dyn Read,
    /// Value by table and key; `None` is a deletion.
    pending: BTreeMap<(Table, Vec<u8>), Option<Bytes>>,
    /// Ranges deleted whole; entries of `pending` in them came later.
    deleted: Vec<(Table, Range<Vec<u8>>)>,
    len_bytes: usize,
}

impl<'e> Overlay<'e> {
    pub(crate) fn new(below: &'e dyn Read) -> Self {
        Self { below, pending: BTreeMap::new(), deleted: Vec::new(), len_bytes: 0 }
    }

    pub(crate) fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes) {
        self.len_bytes += key.len() + value.len();
        self.pending.insert((table, key), Some(value));
    }

    pub(crate) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.len_bytes += key.len();
        self.pending.insert((table, key), None);
    }

    pub(crate) fn delete_range(&mut self, table: Table, range: Range<Vec<u8>>) {
        let covered: Vec<_> = self
            .pending
            .range((table, range.start.clone())..(table, range.end.clone()))
            .map(|(key, _)| key.clone())
            .collect();
        for key in covered {
            self.pending.remove(&key);
        }
        self.len_bytes += range.start.len() + range.end.len();
        self.deleted.push((table, range));
    }

    /// About how large the batch has become; never shrinks.
    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The batch that makes the changes.
    pub(crate) fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        // Before the values: what stands in a deleted range was put after it.
        for (table, range) in self.deleted {
            batch.delete_range(table, &range.start, &range.end);
        }
        for ((table, key), value) in self.pending {
            match value {
                Some(value) => batch.put(table, key, value),
                None => batch.delete(table, key),
            }
        }
        batch
    }

    fn hides(&self, table: Table, key: &[u8]) -> bool {
        self.deleted.iter().any(|(deleted, range)| {
            *deleted == table && range.start.as_slice() <= key && key < range.end.as_slice()
        })
    }

    fn pending_in(
        &self,
        table: Table,
        range: &Range<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], Option<&Bytes>)> {
        self.pending
            .range((table, range.start.to_vec())..(table, range.end.to_vec()))
            .map(|((_, key), value)| (key.as_slice(), value.as_ref()))
    }

    /// Visits what `pending` and the engine have, in the order that `first`
    /// defines: whether its first argument comes before its second.
    fn merge<'p>(
        &self,
        table: Table,
        pending: impl Iterator<Item = (&'p [u8], Option<&'p Bytes>)>,
        first: impl Fn(&[u8], &[u8]) -> bool,
        scan_below: impl FnOnce(&mut Visit<'_>) -> Result<(), EngineError>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let mut pending = pending.peekable();
        let mut stopped = false;
        scan_below(&mut |key, value| {
            while let Some((at, change)) = pending.next_if(|(at, _)| first(at, key)) {
                if let Some(change) = change
                    && visit(at, change).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let flow = match pending.next_if(|(at, _)| *at == key) {
                Some((_, Some(change))) => visit(key, change),
                Some((_, None)) => ControlFlow::Continue(()),
                None if self.hides(table, key) => ControlFlow::Continue(()),
                None => visit(key, value),
            };
            stopped = flow.is_break();
            flow
        })?;
        if stopped {
            return Ok(());
        }
        for (at, change) in pending {
            if let Some(change) = change
                && visit(at, change).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

impl Read for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if let Some(change) = self.pending.get(&(table, key.to_vec())) {
            return Ok(change.clone());
        }
        if self.hides(table, key) {
            return Ok(None);
        }
        self.below.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let pending = self.pending_in(table, &range);
        self.merge(
            table,
            pending,
            |a, b| a < b,
            |visit| self.below.scan(table, range.clone(), visit),
            visit,
        )
    }

    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let pending = self.pending_in(table, &range).rev();
        self.merge(
            table,
            pending,
            |a, b| a > b,
            |visit| self.below.scan_back(table, range.clone(), visit),
            visit,
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::image::Image;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Durability, Engine};

    const TABLE: Table = Table::StateMeta;

    /// A key, and what becomes of it: a value, nothing, or nothing up to a key.
    type Step = (u8, Option<u8>, Option<u8>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = || 0..12u8;
        let deleted_to = prop::option::weighted(0.2, key());
        prop::collection::vec((key(), any::<Option<u8>>(), deleted_to), 0..12)
    }

    fn change(overlay: &mut Overlay<'_>, steps: &[Step]) {
        for (key, value, deleted_to) in steps {
            let key = vec![*key];
            match (value, deleted_to) {
                (_, Some(to)) => overlay.delete_range(TABLE, key.clone()..vec![*to].max(key)),
                (Some(value), None) => overlay.put(TABLE, key, vec![*value].into()),
                (None, None) => overlay.delete(TABLE, key),
            }
        }
    }

    /// Up to `limit` values of a range, in both directions, and of each key.
    fn look(read: &dyn Read, range: Range<u8>, limit: usize) -> Vec<Vec<u8>> {
        let (from, to) = ([range.start], [range.end]);
        let mut seen = Vec::new();
        for is_upwards in [true, false] {
            let mut left = limit;
            let mut visit = |key: &[u8], value: &[u8]| {
                seen.push([key, value].concat());
                left -= 1;
                if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            if is_upwards {
                read.scan(TABLE, &from..&to, &mut visit).unwrap();
            } else {
                read.scan_back(TABLE, &from..&to, &mut visit).unwrap();
            }
        }
        seen.extend(range.map(|key| {
            read.get(TABLE, &[key]).unwrap().map_or_else(Vec::new, |value| value.to_vec())
        }));
        seen
    }

    proptest! {
        #[test]
        fn an_overlay_shows_what_its_batch_will_make(
            below in steps(), above in steps(), from in 0..12u8, to in 0..13u8, limit in 1..5usize,
        ) {
            let engine = MemoryEngine::open(Image::default());
            let mut base = Overlay::new(engine.as_ref());
            change(&mut base, &below);
            engine.write(&base.into_batch(), Durability::Buffered).unwrap();

            let mut overlay = Overlay::new(engine.as_ref());
            change(&mut overlay, &above);
            let range = from.min(to)..to.max(from);
            let shown = look(&overlay, range.clone(), limit);
            let batch = overlay.into_batch();
            engine.write(&batch, Durability::Buffered).unwrap();
            prop_assert_eq!(shown, look(engine.as_ref(), range, limit));
        }
    }
}
