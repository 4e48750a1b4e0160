//! While a node drains, the number of its leaderships never grows. An election that it
//! had won by then counts from the moment at which its Raft knows: what is left is that
//! its vote, committed now, goes to the disk, and nothing takes that back. Grants that
//! come later are not counted by anybody, however long the campaign had been under way.

use std::collections::BTreeMap;

use partition_types::{NodeId, PartitionId};

use super::Scene;

#[derive(Default)]
pub(super) struct Drain {
    /// What nodes that drain led, or had won, when they were last seen.
    led: BTreeMap<(NodeId, u32), Vec<PartitionId>>,
}

impl Drain {
    pub(super) fn look(&mut self, scene: &Scene) -> Result<(), String> {
        let mut led = BTreeMap::new();
        let mut result = Ok(());
        for node in scene.nodes.iter().filter(|node| node.draining) {
            let key = (node.id, node.live.life);
            let now: Vec<PartitionId> = node.leads.iter().chain(&node.wins).copied().collect();
            if let Some(before) = self.led.get(&key)
                && now.len() > before.len()
            {
                let id = node.id;
                result = Err(format!("node {id} drains and leads {now:?} after {before:?}"));
            }
            led.insert(key, now);
        }
        self.led = led;
        result
    }
}
