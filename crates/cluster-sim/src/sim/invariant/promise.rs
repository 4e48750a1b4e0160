//! A replica keeps what it told others, whatever it lived through: after it gave
//! its vote, or took a leader's entries, it takes part in no earlier leadership.
//!
//! An answer counts against what was promised when its question came: two
//! questions at once may be answered in either order.

use std::collections::BTreeMap;

use partition_types::{NodeId, PartitionId, Vote};

/// A leadership, in the order of leaderships.
type Rank = (u64, Option<NodeId>);

#[derive(Default)]
pub(crate) struct Promises(BTreeMap<(NodeId, PartitionId), Rank>);

impl Promises {
    /// What a replica is bound by now.
    pub(crate) fn of(&self, node: NodeId, partition: PartitionId) -> Option<Rank> {
        self.0.get(&(node, partition)).copied()
    }

    /// A replica that was bound by `before` when it was asked took part in the
    /// leadership of `vote`.
    pub(crate) fn make(
        &mut self,
        node: NodeId,
        partition: PartitionId,
        before: Option<Rank>,
        vote: Vote,
    ) -> Result<(), String> {
        let rank = (vote.term, vote.voted_for);
        let bound = self.0.entry((node, partition)).or_insert(rank);
        *bound = rank.max(*bound);
        match before {
            Some(before) if rank < before => Err(format!(
                "node {node} takes part in {rank:?} of partition {partition} after {before:?}"
            )),
            _ => Ok(()),
        }
    }

    /// Whether a replica that comes up finds the vote on its disk that it is bound by.
    pub(crate) fn check(
        &self,
        node: NodeId,
        partition: PartitionId,
        vote: Option<Vote>,
    ) -> Result<(), String> {
        let rank = vote.map(|vote| (vote.term, vote.voted_for));
        match self.of(node, partition) {
            Some(bound) if Some(bound) > rank => Err(format!(
                "node {node} comes up with {rank:?} for partition {partition}, bound by {bound:?}"
            )),
            _ => Ok(()),
        }
    }
}
