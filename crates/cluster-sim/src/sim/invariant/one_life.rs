//! Each leadership is of one life: a replica that led when its node went does not
//! lead on in the same term, for it has forgotten what it was about. And what it
//! led in comes only once: `(term, node)` names at most one leadership.

use std::collections::{BTreeMap, BTreeSet};

use partition_types::{NodeId, PartitionId};

use super::Scene;
use crate::sim::world::{Trap, World};

#[derive(Default)]
pub(super) struct OneLife {
    /// In which life who led what in which term.
    led: BTreeMap<(PartitionId, u64, NodeId), u32>,
    /// Who leads now.
    leads: BTreeSet<(NodeId, u32, PartitionId)>,
}

impl OneLife {
    pub(super) fn look(&mut self, world: &World, scene: &Scene) -> Result<(), String> {
        let mut leads = BTreeSet::new();
        let mut result = Ok(());
        for node in &scene.nodes {
            let life = node.live.life;
            for id in &node.leads {
                let key = (node.id, life, *id);
                leads.insert(key);
                if self.leads.contains(&key) {
                    continue;
                }
                let Some(replica) = node.replica(*id) else { continue };
                let term = replica.status().term;
                let mut inner = world.lock();
                inner.counts.leaderships += 1;
                inner.event(&format!("node {} leads partition {id} in term {term}", node.id));
                inner.trip(node.id, Trap::Leads);
                let first = *self.led.entry((*id, term, node.id)).or_insert(life);
                if first != life {
                    result = Err(format!(
                        "node {} leads partition {id} in term {term} in life {life}, as it did in \
                         life {first}",
                        node.id
                    ));
                }
            }
        }
        self.leads = leads;
        result
    }
}
