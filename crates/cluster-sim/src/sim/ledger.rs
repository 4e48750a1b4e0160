//! What clients asked the cluster to keep, and what it promised: the judge of
//! every read.
//!
//! Each object has one writer. Before it asks, it raises what may be there; when
//! it is told that it is done, what must be there. A read notes that floor before
//! it asks, must see at least so much, and raises the floor to what it saw. A
//! write whose outcome stays unknown ends the writing: it may be applied at any
//! later time.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use partition_types::{ExtentId, PartitionId};

/// Of a register's value, in bytes.
const VALUE_LEN: usize = 24;

/// What kind of object it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Overwritten as a whole: version 1, 2, 3…
    Register,
    /// Appended to.
    Journal,
}

/// An extent of a client.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) partition: PartitionId,
    pub(crate) extent: ExtentId,
    seed: u64,
    bounds: Mutex<Bounds>,
}

/// In versions of a register, in bytes of a journal.
#[derive(Debug, Default, Clone, Copy)]
struct Bounds {
    floor: u64,
    attempted: u64,
}

/// A read that was promised something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    floor: u64,
    /// From where on it reads.
    pub(crate) offset: u64,
}

impl Object {
    pub(crate) fn new(kind: Kind, partition: PartitionId, extent: ExtentId, seed: u64) -> Self {
        Self { kind, partition, extent, seed, bounds: Mutex::default() }
    }

    /// The next write, for its one writer: where to and what. `None` once an
    /// outcome is unknown.
    pub(crate) fn next(&self, len: usize) -> Option<(u64, Bytes)> {
        let mut bounds = self.bounds.lock();
        if bounds.attempted > bounds.floor {
            return None;
        }
        match self.kind {
            Kind::Register => {
                bounds.attempted += 1;
                Some((0, value(self.seed, bounds.attempted)))
            }
            Kind::Journal => {
                let offset = bounds.attempted;
                bounds.attempted += len as u64;
                Some((offset, sequence(self.seed, offset, len)))
            }
        }
    }

    /// The write is done; it went to `at`.
    pub(crate) fn acknowledged(&self, meant: u64, at: u64) -> Result<(), (&'static str, String)> {
        let mut bounds = self.bounds.lock();
        if at != meant {
            let what = if at < meant { "lost" } else { "twice" };
            return Err((what, format!("{self}: a write meant for {meant} went to {at}")));
        }
        bounds.floor = bounds.attempted;
        Ok(())
    }

    /// What a read that begins now must see.
    pub(crate) fn expect(&self) -> Expected {
        let floor = self.bounds.lock().floor;
        let offset = match self.kind {
            Kind::Register => 0,
            // Its end: that is what may be missing.
            Kind::Journal => floor.saturating_sub(100),
        };
        Expected { floor, offset }
    }

    /// Judges what a read saw.
    pub(crate) fn judge(
        &self,
        expected: Expected,
        data: &[u8],
    ) -> Result<(), (&'static str, String)> {
        let mut bounds = self.bounds.lock();
        let found = match self.kind {
            Kind::Register if data.is_empty() => 0,
            Kind::Register => version_of(self.seed, data)
                .ok_or_else(|| ("wrong", format!("{self}: {data:?} is no version of it")))?,
            Kind::Journal => {
                if data != sequence(self.seed, expected.offset, data.len()) {
                    let from = expected.offset;
                    return Err(("wrong", format!("{self}: other bytes from {from} on")));
                }
                expected.offset + data.len() as u64
            }
        };
        if found > bounds.attempted {
            let attempted = bounds.attempted;
            return Err(("wrong", format!("{self}: {found} is there, {attempted} were written")));
        }
        if found < expected.floor {
            let floor = expected.floor;
            return Err(("stale", format!("{self}: {found} was read after {floor}")));
        }
        bounds.floor = bounds.floor.max(found);
        Ok(())
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, partition, extent, .. } = self;
        write!(f, "{kind:?} of partition {partition}, extent {extent}")
    }
}

/// Every object of all clients.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Vec<Arc<Object>>>>);

impl Ledger {
    pub(crate) fn add(&self, object: Object) -> Arc<Object> {
        let object = Arc::new(object);
        self.0.lock().push(Arc::clone(&object));
        object
    }

    pub(crate) fn all(&self) -> Vec<Arc<Object>> {
        self.0.lock().clone()
    }
}

/// Version `version` of a register.
fn value(seed: u64, version: u64) -> Bytes {
    let mut value = Vec::with_capacity(VALUE_LEN);
    for word in [seed, version, seed ^ version.wrapping_mul(0x9e37_79b9_7f4a_7c15)] {
        value.extend_from_slice(&word.to_le_bytes());
    }
    value.into()
}

fn version_of(seed: u64, data: &[u8]) -> Option<u64> {
    let version = u64::from_le_bytes(data.get(8..16)?.try_into().ok()?);
    (data == &value(seed, version)[..]).then_some(version)
}

/// The bytes of a journal from `offset` on.
fn sequence(seed: u64, offset: u64, len: usize) -> Bytes {
    let byte = |at: u64| {
        let word = seed.wrapping_add(at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.to_le_bytes()[usize::try_from(at % 8).expect("below 8")]
    };
    (offset..offset + len as u64).map(byte).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: Kind) -> Object {
        Object::new(kind, PartitionId::new(1).unwrap(), ExtentId::new(2).unwrap(), 9)
    }

    fn says(result: Result<(), (&'static str, String)>) -> &'static str {
        result.map_or_else(|(what, _)| what, |()| "fine")
    }

    #[test]
    fn a_register_never_goes_back() {
        let register = object(Kind::Register);
        let first = register.next(0).unwrap();
        assert_eq!(register.next(0), None, "its outcome is unknown");
        register.acknowledged(0, first.0).unwrap();
        let expected = register.expect();
        let second = register.next(0).unwrap();
        assert_eq!(says(register.judge(expected, &[])), "stale");
        assert_eq!(says(register.judge(expected, &first.1)), "fine");
        assert_eq!(says(register.judge(expected, &second.1)), "fine", "it may be there");
        assert_eq!(says(register.judge(register.expect(), &first.1)), "stale", "it was seen");
        assert_eq!(says(register.judge(expected, &value(9, 3))), "wrong", "never written");
        assert_eq!(says(register.judge(expected, &first.1[1..])), "wrong");
    }

    #[test]
    fn a_journal_keeps_what_was_acknowledged() {
        let journal = object(Kind::Journal);
        let (at, first) = journal.next(100).unwrap();
        journal.acknowledged(at, 0).unwrap();
        let (at, second) = journal.next(80).unwrap();
        assert_eq!(says(journal.acknowledged(at, 180)), "twice");
        assert_eq!(says(journal.acknowledged(at, 0)), "lost");
        journal.acknowledged(at, 100).unwrap();
        let expected = journal.expect();
        let all = [first, second].concat();
        assert_eq!(expected.offset, 80);
        assert_eq!(says(journal.judge(expected, &all[80..])), "fine");
        assert_eq!(says(journal.judge(expected, &all[80..179])), "stale");
        assert_eq!(says(journal.judge(expected, &all[79..])), "wrong");
        assert_eq!(says(journal.judge(expected, &[&all[80..], &all[80..]].concat())), "wrong");
    }
}
