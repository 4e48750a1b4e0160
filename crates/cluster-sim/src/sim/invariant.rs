//! What must hold at every moment, whatever happened. One file each; the
//! simulator looks after every simulated millisecond.

mod alive;
mod closed_port;
mod drain;
mod gate_open;
mod lead;
mod memory;
mod one_life;
mod promise;
mod same_log;
mod sleep;

use partition_types::{NodeId, PartitionId};
use raft_glue::Partition;
use startup_gate::{Stage, UnitState};

pub(crate) use alive::{Alive, WITHIN_MS};
use closed_port::ClosedPort;
use drain::Drain;
use gate_open::GateOpen;
pub(crate) use promise::Promises;
pub(crate) use same_log::SameLog;

use super::world::{Live, World};

/// All nodes at one moment.
pub(crate) struct Scene {
    pub(crate) now_ms: u64,
    /// When the last fault began or ended.
    pub(crate) disturbed_ms: u64,
    pub(crate) nodes: Vec<NodeScene>,
}

/// A node that runs.
pub(crate) struct NodeScene {
    pub(crate) id: NodeId,
    pub(crate) live: Live,
    pub(crate) stage: Stage,
    pub(crate) draining: bool,
    pub(crate) replicas: Vec<Partition>,
    /// Those of them that lead.
    pub(crate) leads: Vec<PartitionId>,
    /// Those that have won an election and store the vote for it.
    pub(crate) wins: Vec<PartitionId>,
}

impl NodeScene {
    fn new(id: NodeId, live: Live) -> Self {
        let replicas = live.host.list();
        let leads = replicas.iter().filter(|replica| replica.is_leader());
        let leads = leads.map(Partition::id).collect();
        let wins = replicas.iter().filter(|replica| replica.is_winning());
        let wins = wins.map(Partition::id).collect();
        let (stage, draining) = (live.gate.stage(), live.host.is_draining());
        Self { id, live, stage, draining, replicas, leads, wins }
    }

    pub(crate) fn replica(&self, id: PartitionId) -> Option<&Partition> {
        self.replicas.iter().find(|replica| replica.id() == id)
    }

    pub(crate) fn unit(&self, id: PartitionId) -> Option<UnitState> {
        self.live.gate.state_of(&id)
    }
}

impl Scene {
    pub(crate) fn now(world: &World, disturbed_ms: u64) -> Self {
        let (now_ms, live) = {
            let inner = world.lock();
            (inner.now_ms, inner.live.clone())
        };
        let nodes = live.into_iter().map(|(id, live)| NodeScene::new(id, live)).collect();
        Self { now_ms, disturbed_ms, nodes }
    }
}

/// The invariants that are looked at from outside, and what they remember.
#[derive(Default)]
pub(crate) struct Invariants {
    closed_port: ClosedPort,
    drain: Drain,
    gate_open: GateOpen,
    memory: memory::Memory,
    one_life: one_life::OneLife,
    sleep: sleep::Sleep,
}

impl Invariants {
    /// Looks at one moment; what is wrong goes to the world.
    pub(crate) fn look(&mut self, world: &World, scene: &Scene) {
        let found = [
            ("lead", lead::look(scene)),
            ("one_life", self.one_life.look(world, scene)),
            ("closed_port", self.closed_port.look(scene)),
            ("gate_open", self.gate_open.look(world, scene)),
            ("sleep", self.sleep.look(world, scene)),
            ("memory", self.memory.look(world, scene)),
            ("drain", self.drain.look(scene)),
        ];
        for (invariant, result) in found {
            if let Err(what) = result {
                world.lock().violated(invariant, what);
            }
        }
    }
}
