//! The scenarios: how the cluster begins, what may go wrong in it, and the
//! bounds within which every order of events is tried.

use super::rules::Mutation;
use super::world::{Ballot, Budget, Log, NODES, NodeSet, Role, Sent, World};

/// What a load or a check of one replica may come to, besides good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It may stall, or be slow: its steps are taken one by one.
    Slow,
    /// It is unreadable: its join fails, it does not even vote.
    Unloadable,
    /// Its check fails; its vote and log are intact.
    Corrupt,
    /// It is found bad some time after the barrier: a read fails its checksum.
    Late,
}

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) partitions: usize,
    /// Pre-vote and vote are two steps, and the vote requests of a candidate
    /// that gave up are still on their way.
    pub(crate) fine: bool,
    /// The last term of each partition.
    pub(crate) terms: [u8; 2],
    /// Nodes that serve at first; the others are down.
    pub(crate) serving: NodeSet,
    /// Of the others, those that are being started at first.
    pub(crate) starting: NodeSet,
    /// Who led last, by partition; it leads at first if it serves.
    pub(crate) leaders: [usize; 2],
    /// Who lacks the last entry of partition 0.
    pub(crate) stale: NodeSet,
    /// A flaw of a replica: node, partition.
    pub(crate) flaw: Option<(usize, usize, Flaw)>,
    pub(crate) budget: Budget,
    /// Whose turn to campaign comes before the nodes serve, by partition: the
    /// first ones in rank win the others' delay.
    pub(crate) turns: [NodeSet; 2],
    /// Whether *elect* may take so long that its deadline passes.
    pub(crate) deadline: bool,
    pub(crate) strict: bool,
    /// One rule that is broken on purpose.
    pub(crate) mutation: Option<Mutation>,
}

const ALL: NodeSet = 0b111;

const NOTHING: Budget =
    Budget { crashes: 0, restarts: 0, signals: 0, suspicions: 0, lost_probes: 0 };

const PLAIN: Scenario = Scenario {
    name: "plain",
    partitions: 2,
    fine: false,
    terms: [2, 2],
    serving: 0,
    starting: 0,
    leaders: [0, 1],
    stale: 0,
    flaw: None,
    budget: NOTHING,
    turns: [ALL, ALL],
    deadline: false,
    strict: false,
    mutation: None,
};

const FAULTS: Budget = Budget { crashes: 1, restarts: 1, ..NOTHING };
const ONE: Scenario = Scenario { partitions: 1, fine: true, ..PLAIN };

/// Every scenario of a whole run. Those with one partition take each step of
/// Raft apart; in those with two the partitions meet in the gates.
pub(crate) fn all() -> Vec<Scenario> {
    let crash = Budget { crashes: 1, ..NOTHING };
    let signal = Budget { signals: 1, ..NOTHING };
    let wide = Scenario { turns: [0b011, 0b110], ..cold() };
    let rolling = rolling();
    let drain = Scenario { name: "drain", serving: ALL, ..PLAIN };
    let mut all = quick();
    all.extend([
        Scenario { name: "a leader goes bad", flaw: Some((0, 0, Flaw::Late)), ..goes_bad() },
        Scenario { name: "rolling restart, more terms", terms: [3, 3], ..rolling },
        Scenario { name: "drain, faults", budget: Budget { signals: 1, ..FAULTS }, ..drain },
        Scenario { name: "cold start, crash", budget: crash, ..wide },
        Scenario { name: "cold start, signal, one partition", budget: signal, ..cold_one() },
        Scenario { name: "rolling restart, signal", budget: signal, ..rolling },
        Scenario {
            name: "rolling restart, lost probe and false alarm",
            budget: Budget { lost_probes: 1, suspicions: 1, ..NOTHING },
            ..rolling
        },
        Scenario { name: "drain, crash", budget: Budget { crashes: 1, ..signal }, ..drain },
        Scenario { name: "drain, then start", budget: Budget { restarts: 1, ..signal }, ..drain },
        Scenario {
            name: "slow partition",
            flaw: Some((2, 1, Flaw::Slow)),
            budget: crash,
            ..rolling
        },
        Scenario { name: "bad partition, cold", flaw: Some((0, 0, Flaw::Corrupt)), ..wide },
        Scenario {
            name: "unreadable partition",
            flaw: Some((2, 0, Flaw::Unloadable)),
            budget: crash,
            ..rolling
        },
        Scenario {
            name: "alone, then joined",
            starting: 0b001,
            deadline: true,
            budget: Budget { restarts: 1, ..NOTHING },
            ..PLAIN
        },
    ]);
    all
}

/// The small ones.
pub(crate) fn quick() -> Vec<Scenario> {
    vec![cold_one(), stale(), rolling_one(), drain_one(), goes_bad(), cold(), rolling()]
}

pub(crate) fn cold_one() -> Scenario {
    Scenario { name: "cold start, one partition", starting: ALL, budget: FAULTS, ..ONE }
}

pub(crate) fn stale() -> Scenario {
    Scenario {
        name: "cold start with a stale replica",
        starting: ALL,
        stale: 0b001,
        terms: [3, 0],
        budget: Budget { lost_probes: 1, ..NOTHING },
        ..ONE
    }
}

pub(crate) fn rolling_one() -> Scenario {
    Scenario {
        name: "rolling restart, one partition",
        serving: 0b011,
        starting: 0b100,
        terms: [3, 0],
        budget: Budget { lost_probes: 1, ..FAULTS },
        ..ONE
    }
}

pub(crate) fn drain_one() -> Scenario {
    Scenario {
        name: "drain, one partition",
        serving: ALL,
        budget: Budget { signals: 1, suspicions: 1, ..FAULTS },
        ..ONE
    }
}

pub(crate) fn goes_bad() -> Scenario {
    Scenario {
        name: "a follower goes bad",
        serving: ALL,
        flaw: Some((1, 0, Flaw::Late)),
        budget: Budget { crashes: 1, ..NOTHING },
        ..ONE
    }
}

pub(crate) fn cold() -> Scenario {
    Scenario { name: "cold start", starting: ALL, turns: [0b001, 0b010], ..PLAIN }
}

pub(crate) fn rolling() -> Scenario {
    Scenario { name: "rolling restart", serving: 0b011, starting: 0b100, budget: FAULTS, ..PLAIN }
}

impl Scenario {
    /// What is on the disks at first, and who leads.
    pub(crate) fn first(&self) -> World {
        let mut world = World { left: self.budget, ..World::default() };
        for p in 0..self.partitions {
            self.write_logs(&mut world, p);
        }
        world
    }

    /// Term 1 is over, or goes on: its leader wrote, and most have it.
    fn write_logs(&self, world: &mut World, p: usize) {
        let ballot = Ballot::new(1, self.leaders[p]);
        let group = &mut world.groups[p];
        group.won = ballot.bit();
        group.acknowledged = ballot.bit();
        for n in 0..NODES {
            let stale = p == 0 && self.stale & 1 << n > 0;
            let replica = &mut group.replicas[n];
            if !stale {
                replica.vote = ballot;
                replica.accepted = true;
                replica.log = Log::of(&[ballot]);
            }
        }
        let leader = self.leaders[p];
        if self.serving & 1 << leader > 0 {
            let has_it = (0..NODES).filter(|n| p != 0 || self.stale & 1 << n == 0);
            let replica = &mut group.replicas[leader];
            replica.role = Role::Leader;
            replica.support = has_it.fold(0, |set, n| set | 1 << n);
            group.sent[leader] =
                Sent { append: Some((ballot, Log::of(&[ballot]), true)), ..Sent::default() };
        }
    }
}
