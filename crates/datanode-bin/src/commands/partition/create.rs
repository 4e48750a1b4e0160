//! Creating partitions: replicas and leaders spread evenly over the nodes.

use std::collections::{BTreeMap, BTreeSet};

use datanode_client::proto::{Node, PartitionReplica};
use datanode_client::{AdminClient, NodeId, PartitionId};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::list;
use super::show;
use crate::Failure;
use crate::commands::nodes;
use crate::output::{Output, Rows};

/// How many are created at once: each waits for three disks.
const AT_ONCE: usize = 8;

/// Arguments of `datanode partition create`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// How many replicas each has.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    replicas: u32,
    /// The id of the first one; those after it follow. After the highest id
    /// there is, unless given.
    #[arg(long, value_name = "ID")]
    first_id: Option<PartitionId>,
    /// Only on these nodes; on all that are known, unless given.
    #[arg(long, value_delimiter = ',', value_name = "NODES")]
    nodes: Vec<NodeId>,
}

#[derive(Debug, Serialize)]
struct Created {
    partition_id: u64,
    /// The first one is the preferred leader.
    replicas: Vec<u64>,
    leader_node_id: u64,
    /// False where it was there already.
    created: bool,
}

/// Creates them.
pub(super) async fn run(client: &AdminClient, args: Args, output: Output) -> Result<(), Failure> {
    let known = nodes::known(client).await?;
    let nodes = members(&known, &args)?;
    let first_id = match args.first_id {
        Some(id) => id.get(),
        None => list::all(client).await?.keys().last().map_or(1, |highest| highest + 1),
    };
    let created: Vec<Created> = stream::iter(0..u64::from(args.count))
        .map(|index| {
            let replicas = placement(&nodes, args.replicas as usize, index);
            create(client, &known, first_id.saturating_add(index), replicas)
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    output.print(&created, |created| {
        let mut rows = Rows::new(&[">PARTITION", "REPLICAS", ">LEADER", "CREATED"]);
        for row in created {
            let created = if row.created { "yes" } else { "was there" };
            rows.push([
                row.partition_id.to_string(),
                show::ids(&row.replicas),
                show::id(row.leader_node_id),
                created.to_owned(),
            ]);
        }
        rows
    })?;
    Ok(())
}

/// The replicas of the partition number `index`: a window over the ring of
/// nodes that moves on by one, so that each node is first, second, … equally
/// often. The first one is the preferred leader.
pub(crate) fn placement(nodes: &[u64], replicas: usize, index: u64) -> Vec<u64> {
    let start = usize::try_from(index % nodes.len() as u64).expect("less than a length");
    nodes.iter().cycle().skip(start).take(replicas.min(nodes.len())).copied().collect()
}

/// The nodes to place on, in the order of their ids.
fn members(known: &BTreeMap<u64, Node>, args: &Args) -> Result<Vec<u64>, Failure> {
    let wanted: BTreeSet<u64> = args.nodes.iter().map(|id| id.get()).collect();
    let nodes: Vec<u64> = if wanted.is_empty() {
        known.keys().copied().collect()
    } else {
        wanted.into_iter().collect()
    };
    if nodes.len() < args.replicas as usize {
        return Err(Failure::usage(format!(
            "{} replicas need as many nodes; known are {}",
            args.replicas,
            show::ids(&nodes)
        )));
    }
    Ok(nodes)
}

async fn create(
    client: &AdminClient,
    known: &BTreeMap<u64, Node>,
    id: u64,
    replicas: Vec<u64>,
) -> Result<Created, Failure> {
    let partition_id = PartitionId::new(id).map_err(Failure::usage)?;
    let members = replicas.iter().map(|node_id| replica(known, *node_id)).collect();
    let answer = client.create_partition(partition_id, members).await?;
    let leader_node_id = answer.partition.map_or(0, |partition| partition.leader_node_id);
    Ok(Created { partition_id: id, replicas, leader_node_id, created: answer.created })
}

/// The place with its addresses, where they are known: the coordinator may not
/// have heard of the node yet.
fn replica(known: &BTreeMap<u64, Node>, node_id: u64) -> PartitionReplica {
    let node = known.get(&node_id).cloned().unwrap_or_default();
    PartitionReplica {
        node_id,
        peer_address: node.peer_address,
        client_address: node.client_address,
        admin_address: node.admin_address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_replicas_and_leaders_evenly() {
        for (nodes, replicas) in [(3, 3), (5, 3), (4, 1), (7, 5)] {
            let nodes: Vec<u64> = (1..=nodes).collect();
            let rounds = 4;
            let mut firsts = BTreeMap::<u64, usize>::new();
            let mut all = BTreeMap::<u64, usize>::new();
            for index in 0..(nodes.len() * rounds) as u64 {
                let placed = placement(&nodes, replicas, index);
                assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), replicas, "distinct");
                *firsts.entry(placed[0]).or_default() += 1;
                placed.iter().for_each(|node| *all.entry(*node).or_default() += 1);
            }
            assert!(firsts.values().all(|count| *count == rounds), "{firsts:?}");
            assert!(all.values().all(|count| *count == rounds * replicas), "{all:?}");
        }
    }
}
