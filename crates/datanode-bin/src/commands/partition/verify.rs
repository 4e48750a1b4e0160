//! Comparing the replicas of partitions.

use datanode_client::proto::VerifyPartitionResponse;
use datanode_client::{AdminClient, Crc32c, PartitionId};
use serde::Serialize;

use crate::Failure;
use crate::output::{Output, Rows, bytes};

#[derive(Debug, Serialize)]
struct Sum {
    partition_id: u64,
    node_id: u64,
    applied_index: u64,
    extent_count: u64,
    size_bytes: u64,
    crc32c: u32,
    matches: bool,
    error: String,
}

/// Prints a row a replica.
///
/// # Errors
/// [`Failure`] when replicas differ or one could not be summed.
pub(super) async fn run(
    client: &AdminClient,
    ids: &[PartitionId],
    output: Output,
) -> Result<(), Failure> {
    let mut sums = Vec::new();
    for id in ids {
        let lines = client.verify_partition(*id).await?;
        sums.extend(lines.into_iter().map(|line| sum(*id, line)));
    }
    output.print(&sums, |sums| {
        let mut rows = Rows::new(&[
            ">PARTITION",
            ">NODE",
            ">INDEX",
            ">EXTENTS",
            ">SIZE",
            "CRC-32C",
            "MATCHES",
            "ERROR",
        ]);
        for sum in sums {
            rows.push([
                sum.partition_id.to_string(),
                sum.node_id.to_string(),
                sum.applied_index.to_string(),
                sum.extent_count.to_string(),
                bytes(sum.size_bytes),
                Crc32c::from_u32(sum.crc32c).to_string(),
                (if sum.matches { "yes" } else { "no" }).to_owned(),
                sum.error.clone(),
            ]);
        }
        rows
    })?;
    let bad = sums.iter().filter(|sum| !sum.matches).count();
    if bad > 0 {
        return Err(anyhow::anyhow!("{bad} replicas are not what their leader has").into());
    }
    Ok(())
}

fn sum(id: PartitionId, line: VerifyPartitionResponse) -> Sum {
    Sum {
        partition_id: id.get(),
        node_id: line.node_id,
        applied_index: line.applied_index,
        extent_count: line.extent_count,
        size_bytes: line.size_bytes,
        crc32c: line.crc32c,
        matches: line.matches,
        error: line.error,
    }
}
