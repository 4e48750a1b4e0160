//! What the simulator knows of all nodes at once: who lives, what was asked of
//! the network, what was found wrong. Nodes and clients reach it directly; it is
//! no part of what is simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use partition_store::MemoryDisk;
use partition_types::{Member, NodeId, PartitionId};
use raft_glue::{HostConfig, PartitionHost};
use startup_gate::{Handle, Stage};
use tokio::sync::mpsc;

use super::chance::Chance;
use super::invariant::{Promises, SameLog};
use super::log::Log;
use super::pace::Pace;
use super::report::Counts;
use super::scale::Traffic;
use super::wire::Mail;

/// What may be asked of a node that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Give all leaderships away and stay.
    Drain,
    /// Take part again.
    Undrain,
    /// Go down in order.
    Stop,
    /// Flush everything and purge the logs up to it.
    Purge,
}

/// A node that runs.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) life: u32,
    pub(crate) host: PartitionHost,
    pub(crate) gate: Handle<PartitionId>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    /// When its client port opened; `None` while it is closed.
    pub(crate) open_since_ms: Option<u64>,
}

/// The moment at which a node is to lose its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// Right after it told a candidate that it has its vote.
    Voted,
    /// Right after it told a leader that entries are durable.
    Appended,
    /// Right after it told a client that a write is done.
    Acknowledged,
    /// As it leads a partition for the first time.
    Leads,
    /// As one of its replicas, leader or follower, has fallen asleep.
    Sleeps,
    /// As its start comes to a stage.
    Reached(Stage),
}

/// Something that must never be.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// In simulated milliseconds.
    pub at_ms: u64,
}

/// Everything at once.
pub(crate) struct World {
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) nodes: Vec<NodeId>,
    /// Of each partition.
    pub(crate) replicas: u64,
    pub(crate) pace: Pace,
    pub(crate) disks: BTreeMap<NodeId, MemoryDisk>,
    /// How far the clocks of nodes are off, in milliseconds.
    pub(crate) skew_ms: BTreeMap<NodeId, u64>,
    /// After how long without use a group sleeps; zero: never.
    pub(crate) hibernate_after: Duration,
    /// How many replicas may be awake before what nobody uses sleeps at once.
    pub(crate) crowd: usize,
    /// After how long asleep a follower leaves memory; `None`: all groups stay there.
    pub(crate) unload_after: Option<Duration>,
    inner: Mutex<Inner>,
}

/// What changes.
pub(crate) struct Inner {
    pub(crate) now_ms: u64,
    pub(crate) log: Log,
    pub(crate) counts: Counts,
    pub(crate) violations: Vec<Violation>,
    pub(crate) live: BTreeMap<NodeId, Live>,
    pub(crate) lives: BTreeMap<NodeId, u32>,
    /// Lives that ended so that their peers' connections broke at once.
    pub(crate) ended: BTreeSet<(NodeId, u32)>,
    /// Nodes whose process ended by itself.
    pub(crate) stopped: BTreeSet<NodeId>,
    /// The nodes as members, as soon as their disks have an identity.
    pub(crate) members: BTreeMap<NodeId, Member>,
    pub(crate) mail: Mail,
    /// What nodes say to each other, where somebody counts it.
    pub(crate) traffic: Option<Traffic>,
    /// From here nothing reaches there.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Nothing leaves or reaches them for now.
    pub(crate) stalled: BTreeSet<NodeId>,
    pub(crate) traps: BTreeMap<NodeId, Trap>,
    pub(crate) sprung: BTreeSet<NodeId>,
    pub(crate) promises: Promises,
    pub(crate) same_log: SameLog,
    /// No client begins anything before.
    pub(crate) lull_until_ms: u64,
    pub(crate) clients_stop: bool,
    pub(crate) clients_done: usize,
}

impl World {
    pub(crate) fn new(seed: u64, nodes: u64, partitions: u64, loud: bool) -> Self {
        let id = |id| NodeId::new(id).expect("above 0");
        let mut chance = Chance::new(seed, "world");
        let nodes: Vec<_> = (1..=nodes).map(id).collect();
        let disks = nodes.iter().map(|id| (*id, MemoryDisk::new(chance.draw()))).collect();
        // Up to an hour, so further apart than repeats are known.
        let skew_ms = nodes.iter().map(|id| (*id, chance.below(3_600_000))).collect();
        // At least a heartbeat interval. Other clocks of sleep follow from those.
        let hibernate_ms = *Chance::new(seed, "sleep").pick(&[0, 150, 250, 400, 800]);
        let mut memory = Chance::new(seed, "memory");
        let on_demand = memory.below(3) == 0;
        let unload_ms = *memory.pick(&[150, 400, 1500]);
        let loss = *chance.pick(&[0, 0, 5, 30]);
        let inner = Inner {
            now_ms: 0,
            log: Log::new(loud),
            counts: Counts::default(),
            violations: Vec::new(),
            live: BTreeMap::new(),
            lives: BTreeMap::new(),
            ended: BTreeSet::new(),
            stopped: BTreeSet::new(),
            members: BTreeMap::new(),
            mail: Mail::new(Chance::new(seed, "mail"), loss),
            traffic: None,
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            traps: BTreeMap::new(),
            sprung: BTreeSet::new(),
            promises: Promises::default(),
            same_log: SameLog::default(),
            lull_until_ms: 0,
            clients_stop: false,
            clients_done: 0,
        };
        let partition = |id| PartitionId::new(id).expect("above 0");
        Self {
            partitions: (1..=partitions).map(partition).collect(),
            replicas: nodes.len() as u64,
            pace: Pace::hurried(),
            nodes,
            disks,
            skew_ms,
            hibernate_after: Duration::from_millis(hibernate_ms),
            crowd: *Chance::new(seed, "crowd").pick(&[0, 10, HostConfig::CROWD]),
            unload_after: on_demand.then_some(Duration::from_millis(unload_ms)),
            inner: Mutex::new(inner),
        }
    }

    /// Everything that changes. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(crate) fn event(&self, what: &str) {
        self.lock().event(what);
    }

    /// The present time by the clock of a node, in milliseconds since the epoch.
    pub(crate) fn clock_ms(&self, node: NodeId) -> u64 {
        1_800_000_000_000 + self.skew_ms[&node] + self.lock().now_ms
    }

    /// The founders of a partition, the preferred leader first; `None` while not
    /// all nodes have an identity.
    pub(crate) fn founders(&self, partition: PartitionId) -> Option<Vec<(NodeId, Member)>> {
        let inner = self.lock();
        let member = |id| Some((id, inner.members.get(&id)?.clone()));
        self.placed(partition).into_iter().map(member).collect()
    }

    /// Where the replicas of a partition are, the preferred leader's node first:
    /// the partitions are spread evenly, and so are those that two nodes share.
    pub(crate) fn placed(&self, partition: PartitionId) -> Vec<NodeId> {
        let nodes = self.nodes.len() as u64;
        let nth = |nth: u64| self.nodes[usize::try_from(nth % nodes).expect("a few nodes")];
        let first = partition.get() % nodes;
        if self.replicas == nodes {
            return (0..nodes).map(|rank| nth(first + rank)).collect();
        }
        // Three at most: at distances that differ from round to round.
        let (round, others) = (partition.get() / nodes, nodes - 1);
        let stride = 1 + round / others % (others - 1);
        let away = |rank: u64| match rank {
            0 => 0,
            rank => 1 + (round + (rank - 1) * stride) % others,
        };
        (0..self.replicas).map(|rank| nth(first + away(rank))).collect()
    }

    pub(crate) fn is_stalled(&self, node: NodeId) -> bool {
        self.lock().stalled.contains(&node)
    }
}

impl Inner {
    pub(crate) fn event(&mut self, what: &str) {
        let now_ms = self.now_ms;
        self.log.event(now_ms, what);
    }

    pub(crate) fn violated(&mut self, invariant: &'static str, what: String) {
        self.event(&format!("VIOLATION {invariant}: {what}"));
        let at_ms = self.now_ms;
        self.violations.push(Violation { invariant, what, at_ms });
    }

    /// Something happened that a node's trap may wait for.
    pub(crate) fn trip(&mut self, node: NodeId, what: Trap) {
        if self.traps.get(&node) == Some(&what) {
            self.traps.remove(&node);
            self.sprung.insert(node);
        }
    }
}
