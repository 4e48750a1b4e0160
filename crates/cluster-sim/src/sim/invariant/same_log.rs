//! Replicas that applied as much have the same state, byte for byte; and what a
//! replica applied stays applied as it was, in all its lives.

use std::collections::BTreeMap;

use partition_types::{NodeId, PartitionId};

#[derive(Default)]
pub(crate) struct SameLog {
    /// The sum of the state after each entry for which somebody told it, and who.
    sums: BTreeMap<(PartitionId, u64), (u32, NodeId)>,
}

impl SameLog {
    /// A node tells the sum of its state.
    pub(crate) fn state(
        &mut self,
        node: NodeId,
        partition: PartitionId,
        applied_index: u64,
        sum: u32,
    ) -> Result<(), String> {
        let (known, first) = *self.sums.entry((partition, applied_index)).or_insert((sum, node));
        if known == sum {
            return Ok(());
        }
        Err(format!(
            "partition {partition} at {applied_index}: node {node} has {sum:08x}, node {first} had \
             {known:08x}"
        ))
    }
}
