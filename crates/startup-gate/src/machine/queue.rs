//! Who is next: waiting units by lane and priority, bounded work at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::Concurrency;
use crate::unit::Priority;

/// Units that wait for a slot, and how many slots are taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Queue<U> {
    bound: Concurrency,
    lanes: BTreeMap<usize, Lane<U>>,
    running: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lane<U> {
    waiting: BTreeSet<(Reverse<Priority>, usize, U)>,
    running: usize,
    /// Nothing new is begun: something in it stalled.
    held: bool,
}

impl<U: Clone + Ord> Queue<U> {
    pub(super) fn new(bound: Concurrency) -> Self {
        Self { bound, lanes: BTreeMap::new(), running: 0 }
    }

    pub(super) fn push(&mut self, lane: usize, priority: Priority, seq: usize, unit: U) {
        let empty = || Lane { waiting: BTreeSet::new(), running: 0, held: false };
        let lane = self.lanes.entry(lane).or_insert_with(empty);
        lane.waiting.insert((Reverse(priority), seq, unit));
    }

    /// Takes a unit out of the queue; whether it was there.
    pub(super) fn withdraw(
        &mut self,
        lane: usize,
        priority: Priority,
        seq: usize,
        unit: &U,
    ) -> bool {
        let key = (Reverse(priority), seq, unit.clone());
        self.lanes.get_mut(&lane).is_some_and(|lane| lane.waiting.remove(&key))
    }

    /// Takes a slot for the unit that is next: the highest priority among lanes
    /// with a free slot; among equals the least busy lane, then the given order.
    pub(super) fn pop(&mut self) -> Option<U> {
        if self.running >= self.bound.overall.get() {
            return None;
        }
        let per_lane = self.bound.per_lane.get();
        let lane = self
            .lanes
            .values_mut()
            .filter(|lane| !lane.held && lane.running < per_lane && !lane.waiting.is_empty())
            .min_by_key(|lane| {
                let first = lane.waiting.first().map(|(priority, seq, _)| (*priority, *seq));
                first.map(|(priority, seq)| (priority, lane.running, seq))
            })?;
        let (_, _, unit) = lane.waiting.pop_first()?;
        lane.running += 1;
        self.running += 1;
        Some(unit)
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.running -= 1;
            self.running -= 1;
        }
    }

    /// Whether a lane may begin something new.
    pub(super) fn hold(&mut self, lane: usize, held: bool) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.held = held;
        }
    }

    pub(super) fn running_in(&self, lane: usize) -> usize {
        self.lanes.get(&lane).map_or(0, |lane| lane.running)
    }

    /// How many slots a lane has if no other lane takes any.
    pub(super) fn slots_in_lane(&self) -> usize {
        self.bound.per_lane.min(self.bound.overall).get()
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// Whether no bound is exceeded.
    pub(super) fn is_bounded(&self) -> bool {
        self.running <= self.bound.overall.get()
            && self.lanes.values().all(|lane| lane.running <= self.bound.per_lane.get())
    }
}
