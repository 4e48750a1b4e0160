//! When which group is due, in slots of time: a node has one of these, where
//! openraft would have a ticking task for each group.
//!
//! Setting, moving and taking cost the logarithm of what is in it; nothing ever
//! goes through all of it.

use std::collections::{BTreeSet, HashMap};

use partition_types::PartitionId;

/// Due groups by slot. A group is in it at most once.
#[derive(Default)]
pub(crate) struct Agenda {
    slots: BTreeSet<(u64, PartitionId)>,
    set: HashMap<PartitionId, u64>,
}

impl Agenda {
    /// Makes a group due in `slot` and in no other. Whether nothing is due before.
    pub(crate) fn set(&mut self, id: PartitionId, slot: u64) -> bool {
        if let Some(before) = self.set.insert(id, slot) {
            self.slots.remove(&(before, id));
        }
        let is_first = self.next().is_none_or(|next| slot < next);
        self.slots.insert((slot, id));
        is_first
    }

    /// Makes a group never due.
    pub(crate) fn remove(&mut self, id: PartitionId) {
        if let Some(slot) = self.set.remove(&id) {
            self.slots.remove(&(slot, id));
        }
    }

    /// The first slot in which something is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.slots.first().map(|(slot, _)| *slot)
    }

    /// Takes out what is due up to `slot`, the earliest first; at most `max`.
    pub(crate) fn take(&mut self, slot: u64, max: usize) -> Vec<PartitionId> {
        let mut due = Vec::new();
        while due.len() < max
            && let Some(first) = self.slots.first().copied()
            && first.0 <= slot
        {
            self.slots.remove(&first);
            self.set.remove(&first.1);
            due.push(first.1);
        }
        due
    }

    /// How many groups it has.
    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64) -> PartitionId {
        PartitionId::new(id).unwrap()
    }

    #[test]
    fn is_due_once_and_in_order() {
        let mut agenda = Agenda::default();
        assert!(agenda.set(id(1), 5));
        assert!(agenda.set(id(2), 3), "now the first");
        assert!(!agenda.set(id(3), 3));
        assert!(!agenda.set(id(2), 9), "moved");
        assert_eq!((agenda.next(), agenda.len()), (Some(3), 3));
        assert!(agenda.take(2, 10).is_empty());
        assert_eq!(agenda.take(5, 10), [id(3), id(1)]);
        assert_eq!(agenda.next(), Some(9));
        agenda.remove(id(2));
        agenda.remove(id(2));
        assert_eq!((agenda.next(), agenda.len()), (None, 0));
    }

    #[test]
    fn takes_no_more_than_it_is_asked_for() {
        let mut agenda = Agenda::default();
        for one in 1..=10 {
            agenda.set(id(one), 1);
        }
        assert_eq!(agenda.take(1, 4).len(), 4);
        assert_eq!(agenda.take(1, 100).len(), 6);
    }
}
