//! The content of tables in memory at one moment: what the engines without a disk
//! read from. Copies share until one is changed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

#[cfg(test)]
use super::Change;
use super::{EngineError, Read, Table, Visit};

/// A key and its table.
pub(crate) type Key = (Table, Vec<u8>);
/// All there is.
pub(crate) type Content = BTreeMap<Key, Bytes>;

/// The content at one moment.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Image(pub(super) Arc<Content>);

impl Image {
    #[cfg(test)]
    pub(crate) fn keys(&self, table: Table) -> Vec<Vec<u8>> {
        self.0.keys().filter(|(t, _)| *t == table).map(|(_, key)| key.clone()).collect()
    }

    fn range(
        &self,
        table: Table,
        range: Range<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let range = bounds(table, range.start, range.end);
        self.0.range(range).map(|((_, key), value)| (key.as_slice(), value.as_ref()))
    }

    #[cfg(test)]
    pub(super) fn change(&mut self, change: &Change) {
        let content = Arc::make_mut(&mut self.0);
        match change {
            Change::Put { table, key, value } => {
                let mut bytes = Vec::new();
                value.write_to(&mut bytes);
                content.insert((*table, key.clone()), bytes.into());
            }
            Change::Delete { table, key } => {
                content.remove(&(*table, key.clone()));
            }
            Change::DeleteRange { table, from, to } => {
                content.retain(|(t, key), _| t != table || !(from..to).contains(&key));
            }
        }
    }
}

impl Read for Image {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        for (key, value) in self.range(table, range) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        for (key, value) in self.range(table, range).rev() {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// An empty range may be upside down, which a map does not take.
pub(super) fn bounds(table: Table, from: &[u8], to: &[u8]) -> Range<Key> {
    (table, from.to_vec())..(table, to.max(from).to_vec())
}
