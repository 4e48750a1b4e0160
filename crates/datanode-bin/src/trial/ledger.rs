//! What the cluster was asked to keep, and what it promised: the judge of every
//! read.
//!
//! Each object has one writer. Before it asks, it raises what may be there
//! (*attempted*); when the answer is good, what must be there (*floor*). A read
//! notes the floor before it asks, so it must see at least that much; what it
//! has seen, later reads must see too, so it raises the floor as well. A write
//! whose outcome is unknown leaves the two apart, and its object is written no
//! more: it could still be applied at any later time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use datanode_client::{ExtentId, PartitionId};

use super::content::{block, sequence, version_of};
use super::record::Broken;

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition_id: PartitionId,
    pub(super) extent_id: ExtentId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} extent {}", self.partition_id, self.extent_id)
    }
}

/// How much must be there and how much may be.
#[derive(Debug, Default)]
struct Bounds {
    floor: AtomicU64,
    attempted: AtomicU64,
}

impl Bounds {
    fn floor(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    fn attempted(&self) -> u64 {
        self.attempted.load(Ordering::SeqCst)
    }

    fn raise_floor(&self, to: u64) {
        self.floor.fetch_max(to, Ordering::SeqCst);
    }

    fn attempt(&self, to: u64) {
        self.attempted.fetch_max(to, Ordering::SeqCst);
    }
}

/// An extent that is overwritten as a whole, again and again: version 1, 2, 3….
#[derive(Debug)]
pub(super) struct Register {
    pub(super) place: Place,
    seed: u64,
    version: Bounds,
}

impl Register {
    pub(super) fn new(place: Place, seed: u64) -> Self {
        Self { place, seed, version: Bounds::default() }
    }

    /// The next version, for its one writer; `None` once an outcome is unknown.
    pub(super) fn next(&self) -> Option<(u64, Bytes)> {
        let version = self.version.attempted() + 1;
        if version - 1 > self.version.floor() {
            return None;
        }
        self.version.attempt(version);
        Some((version, block(self.seed, version)))
    }

    pub(super) fn acknowledged(&self, version: u64) {
        self.version.raise_floor(version);
    }

    /// What a read that begins now must see at least.
    pub(super) fn floor(&self) -> u64 {
        self.version.floor()
    }

    /// Judges what a read saw that began when the floor was `floor`.
    pub(super) fn judge(&self, floor: u64, data: &[u8]) -> Result<(), Broken> {
        let place = self.place;
        let Some(version) = version_of(self.seed, data) else {
            let len = data.len();
            return Err(Broken::Wrong(format!("{place}: {len} bytes that are no version")));
        };
        let attempted = self.version.attempted();
        if version > attempted {
            return Err(Broken::Wrong(format!("{place}: version {version} of {attempted}")));
        }
        if version < floor {
            return Err(Broken::Stale(format!("{place}: version {version} after {floor}")));
        }
        self.version.raise_floor(version);
        Ok(())
    }
}

/// An extent that is appended to.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) place: Place,
    seed: u64,
    size: Bounds,
}

impl Journal {
    pub(super) fn new(place: Place, seed: u64) -> Self {
        Self { place, seed, size: Bounds::default() }
    }

    /// The next bytes and where they must go, for its one writer; `None` once
    /// an outcome is unknown.
    pub(super) fn next(&self, len: usize) -> Option<(u64, Bytes)> {
        let offset = self.size.attempted();
        if offset > self.size.floor() {
            return None;
        }
        self.size.attempt(offset + len as u64);
        Some((offset, sequence(self.seed, offset, len)))
    }

    /// The append that was to go to `offset` went to `at`.
    pub(super) fn acknowledged(&self, offset: u64, at: u64, len: usize) -> Result<(), Broken> {
        let place = self.place;
        match at.cmp(&offset) {
            std::cmp::Ordering::Equal => {
                self.size.raise_floor(offset + len as u64);
                Ok(())
            }
            std::cmp::Ordering::Less => {
                Err(Broken::Lost(format!("{place}: an append went to {at}, {offset} were there")))
            }
            std::cmp::Ordering::Greater => {
                Err(Broken::Wrong(format!("{place}: an append went to {at}, not to {offset}")))
            }
        }
    }

    /// What a read that begins now must see at least, in bytes.
    pub(super) fn floor(&self) -> u64 {
        self.size.floor()
    }

    /// Judges what a read from `offset` to the end saw that began when the
    /// floor was `floor`.
    pub(super) fn judge(&self, floor: u64, offset: u64, data: &[u8]) -> Result<(), Broken> {
        let (place, size) = (self.place, offset + data.len() as u64);
        let attempted = self.size.attempted();
        if size > attempted {
            return Err(Broken::Wrong(format!("{place}: {size} bytes of {attempted}")));
        }
        if data != sequence(self.seed, offset, data.len()) {
            return Err(Broken::Wrong(format!("{place}: other bytes from {offset} on")));
        }
        if size < floor {
            return Err(Broken::Stale(format!("{place}: {size} bytes after {floor}")));
        }
        self.size.raise_floor(size);
        Ok(())
    }
}

/// An extent that was put whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) place: Place,
    pub(super) seed: u64,
    pub(super) len: usize,
}

impl Whole {
    pub(super) fn judge(&self, data: &[u8]) -> Result<(), Broken> {
        if data == sequence(self.seed, 0, self.len) {
            return Ok(());
        }
        let (place, len, found) = (self.place, self.len, data.len());
        Err(Broken::Wrong(format!("{place}: {found} bytes, not the {len} that were put")))
    }
}

/// Any object.
#[derive(Debug, Clone)]
pub(super) enum Object {
    Register(Arc<Register>),
    Journal(Arc<Journal>),
    Whole(Whole),
}

impl Object {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Register(register) => register.place,
            Self::Journal(journal) => journal.place,
            Self::Whole(whole) => whole.place,
        }
    }
}

/// Every object of our own client.
#[derive(Debug)]
pub(super) struct Ledger {
    registers: Vec<Arc<Register>>,
    journals: RwLock<Vec<Arc<Journal>>>,
    wholes: RwLock<Vec<Whole>>,
}

impl Ledger {
    pub(super) fn new(registers: Vec<Register>) -> Self {
        let registers = registers.into_iter().map(Arc::new).collect();
        Self { registers, journals: RwLock::default(), wholes: RwLock::default() }
    }

    /// One a partition.
    pub(super) fn registers(&self) -> &[Arc<Register>] {
        &self.registers
    }

    pub(super) fn add_journal(&self, journal: Arc<Journal>) {
        self.journals.write().expect("no panics under it").push(journal);
    }

    pub(super) fn add_whole(&self, whole: Whole) {
        self.wholes.write().expect("no panics under it").push(whole);
    }

    /// A journal by chance; `None` while there is none.
    pub(super) fn journal(&self, chance: u64) -> Option<Arc<Journal>> {
        pick(&self.journals.read().expect("no panics under it"), chance).cloned()
    }

    /// Likewise.
    pub(super) fn whole(&self, chance: u64) -> Option<Whole> {
        pick(&self.wholes.read().expect("no panics under it"), chance).copied()
    }

    /// Everything there is now.
    pub(super) fn objects(&self) -> Vec<Object> {
        let journals = self.journals.read().expect("no panics under it");
        let wholes = self.wholes.read().expect("no panics under it");
        let registers = self.registers.iter().cloned().map(Object::Register);
        let journals = journals.iter().cloned().map(Object::Journal);
        registers.chain(journals).chain(wholes.iter().copied().map(Object::Whole)).collect()
    }
}

fn pick<T>(all: &[T], chance: u64) -> Option<&T> {
    let index = usize::try_from(chance >> 1).expect("a usize has 64 bits here");
    index.checked_rem(all.len()).map(|index| &all[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let partition_id = PartitionId::new(1).unwrap();
        Place { partition_id, extent_id: ExtentId::new(2).unwrap() }
    }

    #[test]
    fn a_register_never_goes_back() {
        let register = Register::new(place(), 9);
        let (first, one) = register.next().unwrap();
        register.acknowledged(first);
        let floor = register.floor();
        assert_eq!((first, floor), (1, 1));
        let (second, two) = register.next().unwrap();
        // On its way: both are right.
        register.judge(floor, &one).unwrap();
        register.judge(floor, &two).unwrap();
        // It was seen: now only the second one is.
        assert!(matches!(register.judge(register.floor(), &one), Err(Broken::Stale(_))));
        // A read that began before is not bound by it.
        register.judge(floor, &one).unwrap();
        register.acknowledged(second);
        assert!(matches!(register.judge(2, &block(9, 3)), Err(Broken::Wrong(_))), "never written");
        assert!(matches!(register.judge(2, &one[..9]), Err(Broken::Wrong(_))));
        let (third, _) = register.next().unwrap();
        assert_eq!(third, 3);
        assert_eq!(register.next(), None, "the outcome of the third is unknown");
    }

    #[test]
    fn a_journal_grows_by_what_was_acknowledged() {
        let journal = Journal::new(place(), 9);
        let (offset, bytes) = journal.next(100).unwrap();
        journal.acknowledged(offset, 0, 100).unwrap();
        let (offset, more) = journal.next(50).unwrap();
        assert_eq!((offset, journal.floor()), (100, 100));
        let both = [bytes.clone(), more].concat();
        journal.judge(100, 0, &bytes).unwrap();
        journal.judge(100, 60, &both[60..]).unwrap();
        assert_eq!(journal.floor(), 150, "it was seen");
        assert!(matches!(journal.judge(150, 0, &bytes), Err(Broken::Stale(_))));
        assert!(matches!(journal.judge(0, 1, &bytes), Err(Broken::Wrong(_))), "moved");
        let twice = [&bytes[..], &bytes[..]].concat();
        assert!(matches!(journal.judge(0, 0, &twice), Err(Broken::Wrong(_))));
        assert!(matches!(journal.acknowledged(100, 150, 50), Err(Broken::Wrong(_))), "twice");
        assert!(matches!(journal.acknowledged(100, 50, 50), Err(Broken::Lost(_))));
    }

    #[test]
    fn an_unknown_outcome_ends_the_writing() {
        let journal = Journal::new(place(), 9);
        journal.next(10).unwrap();
        assert_eq!(journal.next(10), None);
        journal.judge(0, 0, &[]).unwrap();
        journal.judge(0, 0, &sequence(9, 0, 10)).unwrap();
    }
}
