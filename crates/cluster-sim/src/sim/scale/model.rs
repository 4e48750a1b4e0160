//! What a cluster's messages and elections should come to, by its size and its
//! clocks; `docs/cost.md` has the same formulas in words. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use partition_types::NodeId;

/// Slots of the driver in a heartbeat interval: what is due in one goes together.
const SLOTS: f64 = 10.0;
/// An entry goes to each follower, and so does the word that it is committed.
const CALLS_PER_WRITE_AND_FOLLOWER: f64 = 2.0;

/// A cluster in which every partition is led by its preferred node.
pub(super) struct Model {
    pub(super) nodes: f64,
    pub(super) groups: f64,
    pub(super) replicas: f64,
    heartbeat_s: f64,
    hibernate_s: f64,
    /// For each node and each that follows it: how many groups.
    ways: BTreeMap<(NodeId, NodeId), u64>,
}

/// Seconds that clients write, and what that keeps awake.
pub(super) struct Load {
    /// Groups that are awake at any moment.
    pub(super) awake: f64,
    /// Calls a second of all nodes, beats left out.
    pub(super) calls: f64,
}

impl Model {
    /// Of partitions by the nodes of their replicas, the leader's first.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(super) fn new(
        nodes: usize,
        placed: impl IntoIterator<Item = Vec<NodeId>>,
        heartbeat: Duration,
        hibernate_after: Duration,
    ) -> Self {
        let (mut ways, mut groups, mut replicas) = (BTreeMap::new(), 0_u64, 0_u64);
        for placed in placed {
            groups += 1;
            replicas += placed.len() as u64;
            for follower in &placed[1..] {
                *ways.entry((placed[0], *follower)).or_insert(0) += 1;
            }
        }
        Self {
            nodes: nodes as f64,
            groups: groups as f64,
            replicas: replicas as f64 / groups as f64,
            heartbeat_s: heartbeat.as_secs_f64(),
            hibernate_s: hibernate_after.as_secs_f64(),
            ways,
        }
    }

    /// Nodes that follow groups of one, in the mean.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(super) fn peers(&self) -> f64 {
        self.ways.len() as f64 / self.nodes
    }

    fn followers(&self) -> f64 {
        self.replicas - 1.0
    }

    /// Heartbeats a second and node, every group awake.
    pub(super) fn awake_calls(&self) -> f64 {
        self.groups / self.nodes * self.followers() / self.heartbeat_s
    }

    /// Messages with those, a second and node: groups that share a slot share one.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(super) fn awake_messages(&self) -> f64 {
        let slots = |groups: &u64| SLOTS * (1.0 - (1.0 - 1.0 / SLOTS).powf(*groups as f64));
        self.ways.values().map(slots).sum::<f64>() / self.heartbeat_s / self.nodes
    }

    /// The most that goes one way between two nodes, a second, however many groups
    /// they share.
    pub(super) fn way_max(&self) -> f64 {
        SLOTS / self.heartbeat_s
    }

    /// Beats a second and node, every group asleep.
    pub(super) fn asleep_messages(&self) -> f64 {
        self.peers() / self.heartbeat_s
    }

    /// What `rate` writes a second to partitions by chance bring.
    pub(super) fn load(&self, rate: f64) -> Load {
        // Awake is what was written to since it would have fallen asleep; that takes
        // up to a heartbeat longer, as it is found tired when one is due.
        let awake_s = self.hibernate_s + self.heartbeat_s / 2.0;
        let awake = self.groups * (1.0 - (-rate * awake_s / self.groups).exp());
        // Each first write wakes its group: heartbeats at once, and the call to sleep
        // at the end.
        let woken = rate * (1.0 - awake / self.groups);
        let per_follower =
            rate * CALLS_PER_WRITE_AND_FOLLOWER + awake / self.heartbeat_s + woken * 2.0;
        Load { awake, calls: per_follower * self.followers() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five nodes in a ring, each with the next two: `rounds` times five groups.
    fn ring(rounds: u64) -> Model {
        let node = |id: u64| NodeId::new(id % 5 + 1).expect("above 0");
        let placed = (0..5 * rounds).map(|id| vec![node(id), node(id + 1), node(id + 2)]);
        Model::new(5, placed, Duration::from_millis(500), Duration::from_secs(5))
    }

    fn check(model: f64, expected: f64) {
        assert!((model - expected).abs() < 0.01, "{model} is not {expected}");
    }

    #[test]
    fn calls_grow_with_groups_and_messages_do_not() {
        let (few, many) = (ring(1), ring(1000));
        check(few.awake_calls(), 4.0);
        check(many.awake_calls(), 4000.0);
        check(few.awake_messages(), 4.0);
        check(many.awake_messages(), 2.0 * many.way_max());
        check(few.asleep_messages(), 4.0);
        check(many.asleep_messages(), 4.0);
    }

    #[test]
    fn a_write_keeps_its_group_awake_for_a_while() {
        let model = ring(1000);
        check(model.load(0.0).awake, 0.0);
        check(model.load(0.0).calls, 0.0);
        let all = model.load(1e9);
        check(all.awake, 5000.0);
        let few = model.load(1.0);
        assert!((5.0..5.3).contains(&few.awake), "{}", few.awake);
        // Per follower: to wake, two for the write, ten heartbeats, to sleep.
        assert!((28.0..31.0).contains(&few.calls), "{}", few.calls);
    }
}
