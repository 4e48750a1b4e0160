//! What a host is told about itself and its clocks.

use std::time::Duration;

use partition_types::{Member, NodeId};

/// Configuration of a [`PartitionHost`](crate::PartitionHost).
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// This node.
    pub node_id: NodeId,
    /// This node as its groups record it: its addresses and incarnation.
    pub local: Member,
    /// How often a leader is heard of. Default 500 ms, at least 10 ms.
    pub heartbeat_interval: Duration,
    /// Without a leader for a random time between the two, a replica campaigns.
    /// Default 2 s and 4 s; the first at least twice the heartbeat interval.
    pub election_timeout: (Duration, Duration),
    /// A group that nobody uses for so long sleeps. Default 5 s; at least the
    /// heartbeat interval, or zero: none ever.
    pub hibernate_after: Duration,
    /// Where more replicas than this are awake, what nobody uses sleeps without waiting for
    /// that: it woke with all the others, when a node came or went. Default
    /// [`CROWD`](HostConfig::CROWD).
    pub crowd: usize,
    /// Which groups are in memory. Default [`Activation::Eager`].
    pub activation: Activation,
    /// On demand, a group that sleeps as a follower for so long leaves memory. Default
    /// 60 s, at least 100 ms.
    pub unload_after: Duration,
    /// How many leaderships a second this node gives back to nodes that are to
    /// have them. Default 100, at most 10,000; 0: none ever.
    pub hand_back_rate: u32,
}

/// Which groups of a node are in memory. All are loaded and checked before the node serves,
/// either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// All of them, always.
    #[default]
    Eager,
    /// Those that lead, and those that somebody needs; the others come up when
    /// somebody does.
    OnDemand,
}

/// A configuration that no group could run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidConfig {
    /// As it is called in the configuration file.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl HostConfig {
    /// So many replicas awake are a crowd: their heartbeats take 8 % of a core.
    pub const CROWD: usize = 256;

    /// The defaults, for this node.
    #[must_use]
    pub fn new(node_id: NodeId, local: Member) -> Self {
        Self {
            node_id,
            local,
            heartbeat_interval: Duration::from_millis(500),
            election_timeout: (Duration::from_secs(2), Duration::from_secs(4)),
            hibernate_after: Duration::from_secs(5),
            crowd: Self::CROWD,
            activation: Activation::Eager,
            unload_after: Duration::from_secs(60),
            hand_back_rate: 100,
        }
    }

    /// Checks the times against each other.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first field that is wrong.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let wrong = |field, problem| Err(InvalidConfig { field, problem });
        let (min, max) = self.election_timeout;
        if self.heartbeat_interval < Duration::from_millis(10) {
            return wrong("raft.heartbeat_interval", "must be at least 10ms");
        }
        if min < self.heartbeat_interval * 2 {
            return wrong("raft.election_timeout", "must be at least twice the heartbeat interval");
        }
        if max <= min {
            return wrong("raft.election_timeout", "must be a smaller and a larger time");
        }
        if !self.hibernate_after.is_zero() && self.hibernate_after < self.heartbeat_interval {
            let problem = "must be at least the heartbeat interval, or 0s";
            return wrong("raft.hibernate_after", problem);
        }
        if self.unload_after < Duration::from_millis(100) {
            return wrong("raft.unload_after", "must be at least 100ms");
        }
        if self.hand_back_rate > 10_000 {
            return wrong("raft.hand_back_rate", "must be at most 10000");
        }
        Ok(())
    }
}
