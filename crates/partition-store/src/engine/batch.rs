//! Changes that are made at once, in the order they were added.

use bytes::Bytes;

use super::Table;

/// A value, in one piece or in parts that are joined when they are written: a
/// payload is not copied to get a header in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Whole(Bytes),
    Parts { head: Bytes, body: Bytes, tail: Bytes },
}

impl Value {
    pub(crate) fn len(&self) -> usize {
        match self {
            Value::Whole(bytes) => bytes.len(),
            Value::Parts { head, body, tail } => head.len() + body.len() + tail.len(),
        }
    }

    /// Appends all of it.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Value::Whole(bytes) => out.extend_from_slice(bytes),
            Value::Parts { head, body, tail } => {
                for part in [head, body, tail] {
                    out.extend_from_slice(part);
                }
            }
        }
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Value::Whole(bytes)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::Whole(bytes.into())
    }
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put {
        table: Table,
        key: Vec<u8>,
        value: Value,
    },
    Delete {
        table: Table,
        key: Vec<u8>,
    },
    /// From the first key up to, and not including, the last.
    DeleteRange {
        table: Table,
        from: Vec<u8>,
        to: Vec<u8>,
    },
}

/// Changes in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    changes: Vec<Change>,
    len_bytes: usize,
}

impl Batch {
    pub(crate) fn put(&mut self, table: Table, key: Vec<u8>, value: impl Into<Value>) {
        let value = value.into();
        self.len_bytes += key.len() + value.len();
        self.changes.push(Change::Put { table, key, value });
    }

    pub(crate) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.len_bytes += key.len();
        self.changes.push(Change::Delete { table, key });
    }

    /// Deletes what is there in `[from, to)`; what is put afterwards stays.
    pub(crate) fn delete_range(&mut self, table: Table, from: &[u8], to: &[u8]) {
        self.len_bytes += from.len() + to.len();
        let (from, to) = (from.to_vec(), to.to_vec());
        self.changes.push(Change::DeleteRange { table, from, to });
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Of all keys and values.
    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }
}
