//! After the last fault everything comes back within a bounded time: each node
//! serves, and each partition has one leader whom all its replicas know; or, where groups
//! come up on demand, nobody needs it and none of its replicas is in memory.

use super::Scene;
use crate::sim::world::World;
use startup_gate::Stage;

/// How long it may take, in simulated time: a start whose leaders are waived, and
/// a few elections after it.
pub(crate) const WITHIN_MS: u64 = 20_000;

pub(crate) struct Alive;

impl Alive {
    /// Why not everything is well yet.
    pub(crate) fn look(world: &World, scene: &Scene) -> Result<(), String> {
        for id in &world.nodes {
            let Some(node) = scene.nodes.iter().find(|node| node.id == *id) else {
                return Err(format!("node {id} does not run"));
            };
            if node.stage != Stage::Serving {
                return Err(format!("node {id} is in stage {}", node.stage));
            }
        }
        for id in &world.partitions {
            let leaders: Vec<_> =
                scene.nodes.iter().map(|node| node.replica(*id)?.leader()).collect();
            let first = leaders.first().copied().flatten();
            let mut replicas = scene.nodes.iter().filter_map(|node| node.replica(*id));
            let rests = world.unload_after.is_some()
                && leaders.iter().all(Option::is_none)
                && replicas.all(|replica| replica.is_unloaded());
            if rests {
                continue;
            }
            if first.is_none() || leaders.iter().any(|leader| *leader != first) {
                return Err(format!("partition {id} is led, as its replicas say, by {leaders:?}"));
            }
        }
        Ok(())
    }
}
