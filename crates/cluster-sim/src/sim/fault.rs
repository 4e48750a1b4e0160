//! What goes wrong, when, and for how long: power cuts (also in the middle of a
//! start, and right after something was promised), partitions of the network both
//! ways and one way, nodes that stand still, drains, rolling restarts, short logs.

use std::collections::BTreeMap;

use partition_types::NodeId;
use startup_gate::Stage;
use turmoil::Sim;

use super::chance::Chance;
use super::wire::machine;
use super::world::{Order, Trap, World};

/// What ends a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Remedy {
    /// Power on.
    Start(NodeId),
    /// The links carry messages again.
    Mend(Vec<(NodeId, NodeId)>),
    /// The node goes on.
    Resume(NodeId),
    /// A drained node takes part again.
    Undrain(NodeId),
}

/// Makes faults, and ends them.
pub(crate) struct Faults {
    chance: Chance,
    next_ms: u64,
    /// What is to come, by its time; the number keeps equal times apart.
    remedies: BTreeMap<(u64, u64), Remedy>,
    number: u64,
    /// Nodes without power, or stopped.
    down: Vec<NodeId>,
    /// Nodes that were told to stop and are to be started again.
    rolling: Vec<NodeId>,
    /// When something last broke or was mended; rolls are none of it.
    pub(crate) disturbed_ms: u64,
    /// No more of it: what is started stays.
    is_over: bool,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed, "faults"),
            next_ms: 0,
            remedies: BTreeMap::new(),
            number: 0,
            down: Vec::new(),
            rolling: Vec::new(),
            disturbed_ms: 0,
            is_over: false,
        }
    }

    /// Takes one look: ends what is over, crashes who was trapped, and breaks
    /// something new if it is time and `more` is wanted.
    pub(crate) fn look(&mut self, sim: &mut Sim<'_>, world: &World, more: bool) {
        let now_ms = world.lock().now_ms;
        while let Some(entry) = self.remedies.first_entry().filter(|entry| entry.key().0 <= now_ms)
        {
            let remedy = entry.remove();
            self.remedy(sim, world, &remedy);
        }
        let sprung: Vec<NodeId> = std::mem::take(&mut world.lock().sprung).into_iter().collect();
        for node in sprung {
            if more {
                self.crash(sim, world, node, "trapped");
            }
        }
        self.restart_stopped(world, now_ms);
        if more && now_ms >= self.next_ms {
            let wait = self.chance.below(1400);
            self.next_ms = now_ms + 100 + wait;
            self.break_something(sim, world, now_ms);
        }
    }

    /// Ends every fault at once.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>, world: &World) {
        self.is_over = true;
        world.lock().traps.clear();
        world.lock().mail.heal();
        for remedy in std::mem::take(&mut self.remedies).into_values() {
            self.remedy(sim, world, &remedy);
        }
        world.event("all faults are over");
    }

    /// Whether a node is on its way down and has to be started again.
    pub(crate) fn is_rolling(&self) -> bool {
        !self.rolling.is_empty() || !self.remedies.is_empty()
    }

    fn after(&mut self, at_ms: u64, remedy: Remedy) {
        self.number += 1;
        self.remedies.insert((at_ms, self.number), remedy);
    }

    fn break_something(&mut self, sim: &mut Sim<'_>, world: &World, now_ms: u64) {
        let node = *self.chance.pick(&world.nodes);
        match self.chance.below(100) {
            0..=24 => self.crash(sim, world, node, "at any time"),
            25..=36 => self.trap(world, node),
            37..=41 => {
                // The whole cluster, or most of it.
                let spared = if self.chance.percent(50) { Some(node) } else { None };
                for id in world.nodes.clone() {
                    if Some(id) != spared {
                        self.crash(sim, world, id, "with others");
                    }
                }
            }
            42..=62 => self.cut(world, node, now_ms),
            63..=72 => self.stall(world, node, now_ms),
            73..=84 => self.roll(world, node),
            85..=92 => self.drain(world, node, now_ms),
            _ => drop(self.order(world, node, Order::Purge)),
        }
    }

    /// Takes a node's power: what it has not synced is lost, in part or all of it.
    fn crash(&mut self, sim: &mut Sim<'_>, world: &World, node: NodeId, why: &str) {
        if self.down.contains(&node) || world.lock().stopped.contains(&node) {
            return;
        }
        let luck = self.chance.below(3);
        let chance = &mut self.chance;
        let lost = world.disks[&node].cut(|unsynced| match luck {
            // Power cut, killed process, and something in between.
            0 => 0,
            1 => unsynced,
            _ => usize::try_from(chance.below(unsynced as u64 + 1)).expect("was one"),
        });
        let live = {
            let mut inner = world.lock();
            let live = inner.live.remove(&node);
            let life = inner.lives.get(&node).copied().unwrap_or(0);
            let slept = live
                .as_ref()
                .is_some_and(|live| live.host.list().iter().any(raft_glue::Partition::is_asleep));
            inner.counts.crashes_asleep += u64::from(slept);
            let was_open = live.as_ref().is_some_and(|live| live.open_since_ms.is_some());
            inner.counts.crashes += 1;
            inner.counts.crashes_in_start += u64::from(!was_open);
            inner.counts.writes_lost_unsynced += (lost.log_writes + lost.state_writes) as u64;
            let (log, state) = (lost.log_writes, lost.state_writes);
            inner.event(&format!(
                "CRASH of node {node}, life {life}, {why}: {log} log and {state} state writes lost"
            ));
            // A killed process breaks its connections; a dead machine says nothing.
            if luck == 1 {
                inner.ended.insert((node, life));
            }
            inner.traps.remove(&node);
            inner.sprung.remove(&node);
            inner.stalled.remove(&node);
            live
        };
        drop(live);
        sim.crash(machine(node));
        self.down.push(node);
        self.rolling.retain(|id| *id != node);
        let now_ms = world.lock().now_ms;
        self.disturbed_ms = now_ms;
        let wait = match self.chance.below(4) {
            0 => 1,
            1 => 2500 + self.chance.below(2000),
            _ => 100 + self.chance.below(1200),
        };
        self.after(now_ms + wait, Remedy::Start(node));
    }

    /// Lets a node run into its crash.
    fn trap(&mut self, world: &World, node: NodeId) {
        let traps = [
            Trap::Voted,
            Trap::Voted,
            Trap::Appended,
            Trap::Acknowledged,
            Trap::Leads,
            Trap::Sleeps,
            Trap::Reached(Stage::Check),
            Trap::Reached(Stage::Elect),
            Trap::Reached(Stage::Serving),
        ];
        let trap = *self.chance.pick(&traps);
        world.lock().traps.insert(node, trap);
        world.event(&format!("node {node} is to crash: {trap:?}"));
    }

    fn cut(&mut self, world: &World, node: NodeId, now_ms: u64) {
        let others = || world.nodes.iter().copied().filter(|id| *id != node);
        let other = *self.chance.pick(&others().collect::<Vec<_>>());
        let links: Vec<_> = match self.chance.below(4) {
            0 => others().flat_map(|id| [(node, id), (id, node)]).collect(),
            1 => vec![(node, other), (other, node)],
            2 => others().map(|id| (node, id)).collect(),
            _ => vec![(node, other)],
        };
        {
            let mut inner = world.lock();
            inner.cut.extend(links.iter().copied());
            inner.counts.partitions += 1;
            let shown: Vec<_> = links.iter().map(|(a, b)| format!("{a}→{b}")).collect();
            inner.event(&format!("cut {}", shown.join(" ")));
        }
        self.disturbed_ms = now_ms;
        let wait = 300 + self.chance.below(3500);
        self.after(now_ms + wait, Remedy::Mend(links));
    }

    fn stall(&mut self, world: &World, node: NodeId, now_ms: u64) {
        {
            let mut inner = world.lock();
            if !inner.live.contains_key(&node) || !inner.stalled.insert(node) {
                return;
            }
            inner.counts.pauses += 1;
            inner.event(&format!("node {node} stands still"));
        }
        self.disturbed_ms = now_ms;
        let wait = 200 + self.chance.below(2800);
        self.after(now_ms + wait, Remedy::Resume(node));
    }

    /// Has a node go down in order, to be started again.
    pub(crate) fn roll(&mut self, world: &World, node: NodeId) {
        if self.rolling.contains(&node) || self.down.contains(&node) {
            return;
        }
        if self.order(world, node, Order::Stop) {
            world.lock().counts.restarts += 1;
            self.rolling.push(node);
        }
    }

    fn drain(&mut self, world: &World, node: NodeId, now_ms: u64) {
        if self.order(world, node, Order::Drain) {
            world.lock().counts.drains += 1;
            let wait = 300 + self.chance.below(1500);
            self.after(now_ms + wait, Remedy::Undrain(node));
        }
    }

    /// Gives an order to a node that serves.
    fn order(&self, world: &World, node: NodeId, order: Order) -> bool {
        let mut inner = world.lock();
        let Some(live) = inner.live.get(&node) else { return false };
        if live.open_since_ms.is_none() || live.orders.send(order).is_err() {
            return false;
        }
        inner.event(&format!("node {node} is told: {order:?}"));
        true
    }

    /// Starts again who went down in order.
    fn restart_stopped(&mut self, world: &World, now_ms: u64) {
        let stopped: Vec<NodeId> = std::mem::take(&mut world.lock().stopped).into_iter().collect();
        for node in stopped {
            self.rolling.retain(|id| *id != node);
            self.down.push(node);
            let wait = 1 + self.chance.below(600);
            self.after(now_ms + wait, Remedy::Start(node));
        }
    }

    fn remedy(&mut self, sim: &mut Sim<'_>, world: &World, remedy: &Remedy) {
        match remedy {
            Remedy::Start(node) => {
                self.down.retain(|id| id != node);
                sim.bounce(machine(*node));
                // And again, maybe, before it serves.
                if !self.is_over
                    && self.chance.percent(20)
                    && !world.lock().traps.contains_key(node)
                {
                    self.trap_start(world, *node);
                }
                return;
            }
            Remedy::Mend(links) => {
                let mut inner = world.lock();
                inner.cut.retain(|link| !links.contains(link));
                inner.event("mended");
            }
            Remedy::Resume(node) => {
                let mut inner = world.lock();
                inner.stalled.remove(node);
                inner.event(&format!("node {node} goes on"));
            }
            Remedy::Undrain(node) => drop(self.order(world, *node, Order::Undrain)),
        }
        self.disturbed_ms = world.lock().now_ms;
    }

    fn trap_start(&mut self, world: &World, node: NodeId) {
        let stages = [Stage::Check, Stage::Elect, Stage::Listen, Stage::Serving];
        let stage = *self.chance.pick(&stages);
        world.lock().traps.insert(node, Trap::Reached(stage));
    }
}
