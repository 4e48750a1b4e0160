//! `Leader(p, n) ∧ ¬Listening(n) ⇒ no serving replica of p could have led when
//! the campaign began`.
//!
//! Whether one could have is hard to say while things break; so the simulator
//! says it only of a node that served, in quiet times, for long enough to have
//! been elected, and whose log is as long.

use std::collections::BTreeSet;

use partition_types::{NodeId, PartitionId};

use super::{NodeScene, Scene};
use startup_gate::Stage;

/// Two of the longest election timeouts, and time to ask around.
const QUIET_MS: u64 = 4000;

#[derive(Default)]
pub(super) struct ClosedPort {
    leads: BTreeSet<(NodeId, PartitionId)>,
}

impl ClosedPort {
    pub(super) fn look(&mut self, scene: &Scene) -> Result<(), String> {
        let mut leads = BTreeSet::new();
        let mut result = Ok(());
        for node in &scene.nodes {
            for id in &node.leads {
                leads.insert((node.id, *id));
                let is_new = !self.leads.contains(&(node.id, *id));
                if node.live.open_since_ms.is_some() || !is_new {
                    continue;
                }
                let others = scene.nodes.iter().filter(|other| other.id != node.id);
                let able = others.into_iter().find(|other| could_lead(scene, node, other, *id));
                if let Some(able) = able {
                    result = Err(format!(
                        "node {} leads partition {id} behind its closed port, where node {} \
                         served and could",
                        node.id, able.id
                    ));
                }
            }
        }
        self.leads = leads;
        result
    }
}

fn could_lead(scene: &Scene, leader: &NodeScene, other: &NodeScene, id: PartitionId) -> bool {
    let long_ago = |since_ms: u64| scene.now_ms.saturating_sub(since_ms) >= QUIET_MS;
    let is_quiet = long_ago(scene.disturbed_ms);
    let serves = other.live.open_since_ms.is_some_and(long_ago)
        && other.stage == Stage::Serving
        && !other.draining;
    let last = |node: &NodeScene| node.replica(id).and_then(|replica| replica.status().applied);
    is_quiet && serves && last(other) >= last(leader)
}
