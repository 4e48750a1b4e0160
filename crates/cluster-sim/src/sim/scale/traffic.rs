//! What nodes say to each other, counted: by kind, by pair, by time.
//!
//! A *call* is one question of one group (or of one node, for many groups). A
//! *message* is what is sent at once: the product's stream of Raft calls takes
//! all that is ready to go to one peer, here those of one millisecond. Answers go
//! the same way and are as many; they are not counted. `Hello` is counted apart.

use std::collections::BTreeMap;

use partition_types::NodeId;

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An append without entries: a heartbeat, or a commit index.
    Heartbeat,
    /// With entries.
    Append,
    PreVote,
    Vote,
    Transfer,
    /// Who leads, of the one who should.
    ReadIndex,
    /// Likewise, of anybody and for many groups.
    Probe,
    /// From node to node, for all groups that sleep.
    Beat,
    /// Which groups are to sleep.
    Sleep,
    Snapshot,
}

impl Kind {
    /// Whether it travels with others on the stream of Raft calls.
    fn is_batched(self) -> bool {
        !matches!(self, Self::Probe | Self::Beat | Self::Sleep | Self::Snapshot)
    }
}

/// From whom to whom.
type Way = (NodeId, NodeId);

/// Counts since it was begun.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    calls: BTreeMap<Kind, u64>,
    messages: BTreeMap<Way, u64>,
    hellos: u64,
    /// When a batch left last.
    batch_ms: BTreeMap<Way, u64>,
    /// Calls of the second that runs, and the most of one.
    second: (u64, u64),
    busiest_second: u64,
}

impl Traffic {
    pub(crate) fn greeted(&mut self) {
        self.hellos += 1;
    }

    pub(crate) fn called(&mut self, now_ms: u64, from: NodeId, to: NodeId, kind: Kind) {
        *self.calls.entry(kind).or_default() += 1;
        let second = now_ms / 1000;
        let before = if self.second.0 == second { self.second.1 } else { 0 };
        self.second = (second, before + 1);
        self.busiest_second = self.busiest_second.max(self.second.1);
        let way = (from, to);
        let leaves = !kind.is_batched() || self.batch_ms.insert(way, now_ms) != Some(now_ms);
        *self.messages.entry(way).or_default() += u64::from(leaves);
    }

    pub(crate) fn calls_of(&self, kind: Kind) -> u64 {
        self.calls.get(&kind).copied().unwrap_or(0)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.values().sum()
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.values().sum()
    }

    pub(crate) fn hellos(&self) -> u64 {
        self.hellos
    }

    /// Messages of the pair of nodes that says most, in one direction.
    pub(crate) fn busiest_way(&self) -> u64 {
        self.messages.values().copied().max().unwrap_or(0)
    }

    /// Messages that the busiest node sent.
    pub(crate) fn busiest_node(&self) -> u64 {
        let mut sent: BTreeMap<NodeId, u64> = BTreeMap::new();
        for ((from, _), count) in &self.messages {
            *sent.entry(*from).or_default() += count;
        }
        sent.into_values().max().unwrap_or(0)
    }

    /// Calls of the busiest second.
    pub(crate) fn busiest_second(&self) -> u64 {
        self.busiest_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_moment_and_way_are_one_message() {
        let node = |id| NodeId::new(id).expect("above 0");
        let mut traffic = Traffic::default();
        for (at_ms, to, kind) in [
            (5, 2, Kind::Heartbeat),
            (5, 2, Kind::Vote),
            (5, 3, Kind::Heartbeat),
            (6, 2, Kind::Heartbeat),
            (1001, 2, Kind::Heartbeat),
            (1001, 2, Kind::Beat),
            (1001, 2, Kind::Beat),
        ] {
            traffic.called(at_ms, node(1), node(to), kind);
        }
        traffic.greeted();
        assert_eq!((traffic.calls(), traffic.messages(), traffic.hellos()), (7, 6, 1));
        assert_eq!((traffic.busiest_way(), traffic.busiest_second()), (5, 4));
        assert_eq!((traffic.calls_of(Kind::Heartbeat), traffic.calls_of(Kind::Vote)), (4, 1));
    }
}
