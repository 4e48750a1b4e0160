//! When the gate opens, each partition has a verified leader, or is waived or
//! quarantined, or on demand not needed by anybody, and the report says so.

use std::collections::BTreeSet;

use partition_types::NodeId;
use startup_gate::{Stage, UnitState};

use super::Scene;
use crate::sim::world::World;

#[derive(Default)]
pub(super) struct GateOpen {
    /// The lives whose gate was seen open.
    open: BTreeSet<(NodeId, u32)>,
}

impl GateOpen {
    pub(super) fn look(&mut self, world: &World, scene: &Scene) -> Result<(), String> {
        for node in scene.nodes.iter().filter(|node| node.stage == Stage::Serving) {
            if !self.open.insert((node.id, node.live.life)) {
                continue;
            }
            if node.live.open_since_ms.is_none() {
                return Err(format!("node {} serves and its port is closed", node.id));
            }
            world.lock().counts.gates_opened += 1;
            for id in &world.partitions {
                let unit = node.unit(*id);
                let is_deferred = unit == Some(UnitState::Deferred) && world.unload_after.is_some();
                let is_settled = is_deferred
                    || matches!(
                        unit,
                        Some(
                            UnitState::Ready
                                | UnitState::Waived { .. }
                                | UnitState::Quarantined { .. }
                        )
                    );
                if !is_settled {
                    let node = node.id;
                    return Err(format!("node {node} opened with partition {id} {unit:?}"));
                }
            }
        }
        Ok(())
    }
}
