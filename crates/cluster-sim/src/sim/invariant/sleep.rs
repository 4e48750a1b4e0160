//! No replica sleeps where sleep is off, and none sleeps on under a leader whose
//! process is long gone. Also counts who falls asleep and wakes.

use std::collections::{BTreeMap, BTreeSet};

use partition_types::{NodeId, PartitionId};

use super::super::world::{Trap, World};
use super::Scene;

/// A replica in one life of its node.
type Replica = (NodeId, u32, PartitionId);

#[derive(Default)]
pub(super) struct Sleep {
    asleep: BTreeSet<Replica>,
    /// Since when a sleeping replica has had nobody who leads its group.
    orphaned_ms: BTreeMap<Replica, u64>,
}

impl Sleep {
    pub(super) fn look(&mut self, world: &World, scene: &Scene) -> Result<(), String> {
        let mut found = Ok(());
        let mut orphaned_ms = BTreeMap::new();
        let mut asleep = BTreeSet::new();
        let mut alive = BTreeSet::new();
        let patience_ms =
            2 * u64::try_from(world.pace.election.1.as_millis()).expect("a small number");
        for node in &scene.nodes {
            for replica in &node.replicas {
                let key = (node.id, node.live.life, replica.id());
                alive.insert(key);
                if !replica.is_asleep() {
                    continue;
                }
                asleep.insert(key);
                if !self.asleep.contains(&key) {
                    let mut world = world.lock();
                    world.counts.sleeps += u64::from(node.leads.contains(&replica.id()));
                    world.event(&format!("node {} lets {} sleep", node.id, replica.id()));
                    world.trip(node.id, Trap::Sleeps);
                }
                if world.hibernate_after.is_zero() {
                    found = Err(format!("node {} sleeps, and may not", node.id));
                }
                if scene.nodes.iter().any(|other| other.leads.contains(&replica.id())) {
                    continue;
                }
                let since_ms = *self.orphaned_ms.get(&key).unwrap_or(&scene.now_ms);
                // Said once.
                if scene.now_ms - since_ms == patience_ms {
                    let (node, id) = (node.id, replica.id());
                    found = Err(format!("node {node} lets {id} sleep, which nobody leads"));
                }
                orphaned_ms.insert(key, since_ms);
            }
        }
        let woke = self.asleep.difference(&asleep).filter(|key| alive.contains(key));
        world.lock().counts.wakes += woke.count() as u64;
        (self.asleep, self.orphaned_ms) = (asleep, orphaned_ms);
        found
    }
}
