//! While a node drains, the number of its leaderships never grows.

use std::collections::BTreeMap;

use partition_types::{NodeId, PartitionId};

use super::Scene;

#[derive(Default)]
pub(super) struct Drain {
    /// What nodes that drain led when it was last seen.
    led: BTreeMap<(NodeId, u32), Vec<PartitionId>>,
}

impl Drain {
    pub(super) fn look(&mut self, scene: &Scene) -> Result<(), String> {
        let mut led = BTreeMap::new();
        let mut result = Ok(());
        for node in scene.nodes.iter().filter(|node| node.draining) {
            let key = (node.id, node.live.life);
            if let Some(before) = self.led.get(&key)
                && node.leads.len() > before.len()
            {
                let (id, now) = (node.id, &node.leads);
                result = Err(format!("node {id} drains and leads {now:?} after {before:?}"));
            }
            led.insert(key, node.leads.clone());
        }
        self.led = led;
        result
    }
}
