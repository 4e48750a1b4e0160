//! Where groups come up on demand, a replica that is not in memory leads nothing and is bound
//! by what it promised; where they do not, every replica is in memory. Also counts who comes and goes.

use std::collections::BTreeSet;

use partition_types::{NodeId, PartitionId};

use super::Scene;
use crate::sim::world::World;

/// A replica in one life of its node.
type Replica = (NodeId, u32, PartitionId);

#[derive(Default)]
pub(super) struct Memory {
    alive: BTreeSet<Replica>,
    unloaded: BTreeSet<Replica>,
}

impl Memory {
    pub(super) fn look(&mut self, world: &World, scene: &Scene) -> Result<(), String> {
        let mut result = Ok(());
        let (mut unloaded, mut alive) = (BTreeSet::new(), BTreeSet::new());
        for node in &scene.nodes {
            for replica in &node.replicas {
                let (id, partition) = (node.id, replica.id());
                let key = (id, node.live.life, partition);
                alive.insert(key);
                if !replica.is_unloaded() {
                    continue;
                }
                unloaded.insert(key);
                if world.unload_after.is_none() {
                    result = Err(format!("node {id} has {partition} out of memory"));
                }
                if node.leads.contains(&partition) {
                    result = Err(format!("node {id} leads {partition} from outside of memory"));
                }
                let term = replica.status().term;
                let bound = world.lock().promises.of(id, partition);
                if bound.is_some_and(|(bound, _)| bound > term) {
                    result = Err(format!(
                        "node {id} has {partition} in term {term} on its disk, and is bound by \
                         {bound:?}"
                    ));
                }
            }
        }
        let mut inner = world.lock();
        let left = unloaded.difference(&self.unloaded).filter(|key| self.alive.contains(key));
        inner.counts.unloads += left.count() as u64;
        let came = self.unloaded.difference(&unloaded).filter(|key| alive.contains(key));
        inner.counts.activations += came.count() as u64;
        drop(inner);
        (self.alive, self.unloaded) = (alive, unloaded);
        result
    }
}
