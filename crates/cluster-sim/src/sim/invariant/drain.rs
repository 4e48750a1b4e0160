//! While a node drains, the number of its leaderships never grows. An election that it
//! had won when the drain began is led once its vote is on the disk, which may be slow.

use std::collections::BTreeMap;

use partition_types::{NodeId, PartitionId};

use super::Scene;

#[derive(Default)]
pub(super) struct Drain {
    /// What nodes that drain led when it was last seen.
    led: BTreeMap<(NodeId, u32), Vec<PartitionId>>,
    /// Since when they drain.
    since_ms: BTreeMap<(NodeId, u32), u64>,
}

/// Longer than the slowest disk takes for the vote of an election that is won.
const WON_BEFORE_MS: u64 = 700;

impl Drain {
    pub(super) fn look(&mut self, scene: &Scene) -> Result<(), String> {
        let (mut led, mut draining) = (BTreeMap::new(), BTreeMap::new());
        let mut result = Ok(());
        for node in scene.nodes.iter().filter(|node| node.draining) {
            let key = (node.id, node.live.life);
            let since_ms = self.since_ms.get(&key).copied().unwrap_or(scene.now_ms);
            draining.insert(key, since_ms);
            if scene.now_ms > since_ms + WON_BEFORE_MS
                && let Some(before) = self.led.get(&key)
                && node.leads.len() > before.len()
            {
                let (id, now) = (node.id, &node.leads);
                result = Err(format!("node {id} drains and leads {now:?} after {before:?}"));
            }
            led.insert(key, node.leads.clone());
        }
        self.led = led;
        self.since_ms = draining;
        result
    }
}
