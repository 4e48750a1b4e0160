//! Which group is brought into memory next, and which may leave it.
//!
//! Groups that wake are many at once: after a node is lost, or when clients come
//! back. They are brought up a few at a time, and who waits for one matters more
//! than who came first. Pure bookkeeping: no task, no lock, no clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use partition_types::PartitionId;

/// Why a group is brought into memory, the least urgent reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It cannot stay as it is, and nobody waits for it.
    WarmUp,
    /// Its leader is gone, and it is this replica's turn to look for another.
    Succession,
    /// Another replica talks to it: a quorum may need this one.
    Peer,
    /// A client waits.
    Client,
}

impl Cause {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::WarmUp, Self::Succession, Self::Peer, Self::Client];

    /// Its word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WarmUp => "warm_up",
            Self::Succession => "succession",
            Self::Peer => "peer",
            Self::Client => "client",
        }
    }

    /// The cause of a number that [`Cause::ALL`] has it at; the least urgent one
    /// for any other.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::WarmUp)
    }
}

/// The groups that wait to be brought up, and how many are.
#[derive(Debug)]
pub struct Line {
    slots: usize,
    running: HashMap<Cause, usize>,
    seq: u64,
    waiting: BTreeMap<(Reverse<Cause>, u64), PartitionId>,
    places: HashMap<PartitionId, (Reverse<Cause>, u64)>,
}

impl Line {
    /// A line in front of so many slots; at least two.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self {
            slots: slots.max(2),
            running: HashMap::new(),
            seq: 0,
            waiting: BTreeMap::new(),
            places: HashMap::new(),
        }
    }

    /// Takes a place in the line. A group has one at most.
    pub fn join(&mut self, id: PartitionId, cause: Cause) {
        self.leave(id);
        let place = (Reverse(cause), self.seq);
        self.seq += 1;
        self.waiting.insert(place, id);
        self.places.insert(id, place);
    }

    /// Somebody else wants a group that waits: it keeps its turn among those that
    /// are as urgent.
    pub fn raise(&mut self, id: PartitionId, cause: Cause) {
        let Some((Reverse(before), seq)) = self.places.get(&id).copied() else { return };
        if cause > before {
            self.waiting.remove(&(Reverse(before), seq));
            self.waiting.insert((Reverse(cause), seq), id);
            self.places.insert(id, (Reverse(cause), seq));
        }
    }

    /// Gives a place up.
    pub fn leave(&mut self, id: PartitionId) {
        if let Some(place) = self.places.remove(&id) {
            self.waiting.remove(&place);
        }
    }

    /// Calls the next that may begin, if any, with what its slot is given back with.
    pub fn call(&mut self) -> Option<(PartitionId, Cause)> {
        let (&place, &id) = self.waiting.first_key_value()?;
        let (Reverse(cause), _) = place;
        if !self.has_slot(cause) {
            return None;
        }
        self.waiting.remove(&place);
        self.places.remove(&id);
        *self.running.entry(cause).or_default() += 1;
        Some((id, cause))
    }

    /// One that began with this cause has ended.
    pub fn end(&mut self, cause: Cause) {
        if let Some(running) = self.running.get_mut(&cause) {
            *running = running.saturating_sub(1);
        }
    }

    /// What nobody waits for leaves half of the slots to those that somebody does.
    fn has_slot(&self, cause: Cause) -> bool {
        let slots = if cause == Cause::WarmUp { self.slots / 2 } else { self.slots };
        self.running.values().sum::<usize>() < slots
    }
}

/// A replica that may leave memory, as its node finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// It sleeps as a follower, under a leader whose node lives.
    pub sleeps_under_leader: bool,
    /// For so long.
    pub asleep_for: Duration,
    /// How long that must be.
    pub unload_after: Duration,
    /// Its state has every entry of its log.
    pub is_level: bool,
    /// It is bad: what it knows of that is in memory only.
    pub quarantined: bool,
}

impl Leaving {
    /// Whether it may.
    #[must_use]
    #[inline]
    pub fn may_leave(self) -> bool {
        let long_enough = self.asleep_for >= self.unload_after;
        self.sleeps_under_leader && long_enough && self.is_level && !self.quarantined
    }
}

/// A replica that is not in memory and does not sleep under a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Its state has every entry of its log.
    pub is_level: bool,
    /// It heard of a leader in this life of its node.
    pub was_led: bool,
    /// It has been so for this long.
    pub for_so_long: Duration,
    /// The longest that an election takes.
    pub patience: Duration,
}

impl Left {
    /// Whether it is brought up although nobody asks: what it has is not known to be
    /// all, or it had a leader and lost it. A group that nobody has used since its
    /// nodes came up waits for whoever does.
    #[must_use]
    #[inline]
    pub fn wants_warm_up(self) -> bool {
        self.for_so_long >= self.patience && (!self.is_level || self.was_led)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(id: u64) -> PartitionId {
        PartitionId::new(id).unwrap()
    }

    fn begun(line: &mut Line) -> Vec<u64> {
        std::iter::from_fn(|| line.call()).map(|(id, _)| id.get()).collect()
    }

    #[test]
    fn who_is_waited_for_goes_first_and_the_rest_in_turn() {
        let mut line = Line::new(4);
        for (group, cause) in [
            (1, Cause::WarmUp),
            (2, Cause::Peer),
            (3, Cause::Succession),
            (4, Cause::Client),
            (5, Cause::Client),
            (6, Cause::WarmUp),
        ] {
            line.join(id(group), cause);
        }
        line.raise(id(6), Cause::Client);
        line.raise(id(4), Cause::Peer);
        assert_eq!(begun(&mut line), [4, 5, 6, 2]);
        line.end(Cause::Client);
        assert_eq!(begun(&mut line), [3]);
        line.end(Cause::Client);
        assert!(begun(&mut line).is_empty(), "half of the slots are not for a warm-up");
        line.end(Cause::Client);
        line.end(Cause::Peer);
        assert_eq!(begun(&mut line), [1]);
    }

    #[test]
    fn a_warm_up_of_thousands_keeps_no_client_waiting() {
        let mut line = Line::new(8);
        (1..=5000).for_each(|group| line.join(id(group), Cause::WarmUp));
        assert_eq!(begun(&mut line).len(), 4);
        line.join(id(9000), Cause::Client);
        assert_eq!(begun(&mut line), [9000], "it waits for nobody");
        line.leave(id(5));
        line.end(Cause::WarmUp);
        assert!(begun(&mut line).is_empty(), "a client and three others run");
        line.end(Cause::Client);
        assert_eq!(begun(&mut line), [6], "the fifth has left the line");
    }

    #[test]
    fn a_cause_has_its_number() {
        for (number, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(Cause::of(u8::try_from(number).unwrap()), cause);
            assert_eq!(cause as usize, number);
        }
    }

    #[test]
    fn only_a_level_follower_that_slept_long_enough_leaves() {
        let leaving = Leaving {
            sleeps_under_leader: true,
            asleep_for: SECOND,
            unload_after: SECOND,
            is_level: true,
            quarantined: false,
        };
        assert!(leaving.may_leave());
        for stays in [
            Leaving { sleeps_under_leader: false, ..leaving },
            Leaving { asleep_for: SECOND / 2, ..leaving },
            Leaving { is_level: false, ..leaving },
            Leaving { quarantined: true, ..leaving },
        ] {
            assert!(!stays.may_leave(), "{stays:?}");
        }
    }

    #[test]
    fn what_nobody_used_is_left_alone_and_what_lacks_something_is_not() {
        let left =
            Left { is_level: true, was_led: false, for_so_long: 2 * SECOND, patience: SECOND };
        assert!(!left.wants_warm_up());
        assert!(Left { is_level: false, ..left }.wants_warm_up());
        assert!(Left { was_led: true, ..left }.wants_warm_up());
        assert!(!Left { was_led: true, for_so_long: SECOND / 2, ..left }.wants_warm_up());
    }
}
