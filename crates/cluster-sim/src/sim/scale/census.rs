//! All groups at one moment: who leads, in which term, and who sleeps.

use std::collections::BTreeMap;

use partition_types::{NodeId, PartitionId};

use super::super::world::World;

/// One group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// The highest of its replicas.
    pub(super) term: u64,
    pub(super) leader: Option<NodeId>,
    /// The term that it leads in. A follower may know of a later one.
    led_in: u64,
    /// All replicas sleep.
    pub(super) asleep: bool,
}

/// All groups.
pub(super) struct Census(BTreeMap<PartitionId, State>);

impl Census {
    /// Looks at all replicas that run.
    pub(super) fn take(world: &World) -> Self {
        let live = world.lock().live.clone();
        let mut states: BTreeMap<PartitionId, State> = BTreeMap::new();
        for (node_id, live) in live {
            for replica in live.host.list() {
                let term = replica.status().term;
                let state = states
                    .entry(replica.id())
                    .or_insert(State { asleep: true, ..State::default() });
                state.asleep &= replica.is_asleep();
                // A leader that was deposed and does not know it leads in an earlier term.
                if replica.is_leader() && (state.leader.is_none() || term > state.led_in) {
                    (state.leader, state.led_in) = (Some(node_id), term);
                }
                state.term = state.term.max(term);
            }
        }
        Self(states)
    }

    pub(super) fn terms(&self) -> u64 {
        self.0.values().map(|state| state.term).sum()
    }

    pub(super) fn asleep(&self) -> u64 {
        self.0.values().filter(|state| state.asleep).count() as u64
    }

    /// Groups that a node leads.
    pub(super) fn led_by(&self, node_id: NodeId) -> u64 {
        self.0.values().filter(|state| state.leader == Some(node_id)).count() as u64
    }

    /// Groups that the first of their nodes leads.
    pub(super) fn as_preferred(&self, world: &World) -> u64 {
        let is_first = |(id, state): &(&PartitionId, &State)| {
            state.leader == world.placed(**id).first().copied()
        };
        self.0.iter().filter(is_first).count() as u64
    }

    /// Groups without a replica on that node which have another term or leader
    /// than before, or woke.
    pub(super) fn disturbed_since(&self, before: &Self, world: &World, node_id: NodeId) -> u64 {
        let elsewhere = |id: &PartitionId| !world.placed(*id).contains(&node_id);
        let same = |id: &PartitionId, now: &State| {
            before.0.get(id).is_some_and(|was| {
                was.term == now.term && was.leader == now.leader && (now.asleep || !was.asleep)
            })
        };
        self.0.iter().filter(|(id, now)| elsewhere(id) && !same(id, now)).count() as u64
    }
}
