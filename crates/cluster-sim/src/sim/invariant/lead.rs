//! `Leader(p, n) ⇒ Loaded(p, n) ∧ Checked(p, n) ∧ CheckStagePassed(n)`.

use startup_gate::{Stage, UnitState};

use super::Scene;

pub(super) fn look(scene: &Scene) -> Result<(), String> {
    for node in &scene.nodes {
        for id in &node.leads {
            let unit = node.unit(*id);
            let (stage, id, partition) = (node.stage, node.id, *id);
            if matches!(stage, Stage::Load | Stage::Check) {
                return Err(format!("node {id} leads partition {partition} in stage {stage}"));
            }
            let is_good = matches!(
                unit,
                Some(
                    UnitState::Electing
                        | UnitState::Ready
                        | UnitState::Waived { .. }
                        | UnitState::Deferred
                )
            );
            if !is_good {
                return Err(format!("node {id} leads partition {partition}, which is {unit:?}"));
            }
        }
    }
    Ok(())
}
