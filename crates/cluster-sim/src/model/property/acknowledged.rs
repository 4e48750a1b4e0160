//! What was acknowledged survives: most replicas have it, and so has whoever
//! is elected later.

use super::{Property, Step};
use crate::model::world::{NODES, is_quorum};

pub(super) const PROPERTY: Property = Property {
    name: "acknowledged survives",
    says: "an acknowledged entry is in most logs, and in the log of each later leader",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    let kept = (0..step.model.scenario.partitions).all(|p| {
        let group = &step.after.groups[p];
        let entries = (0..u16::BITS).map(|bit| 1 << bit).filter(|e| group.acknowledged & e > 0);
        entries.into_iter().all(|entry| {
            let have = (0..NODES).filter(|n| group.replicas[*n].log.covers(entry));
            is_quorum(have.fold(0, |set, n| set | 1 << n))
        })
    });
    kept && step.new_leaders().all(|(p, n)| {
        let group = &step.after.groups[p];
        let ballot = group.replicas[n].vote.bit();
        group.replicas[n].log.covers(group.acknowledged & (ballot - 1))
    })
}
