//! `datanode partition`: partitions and their replicas.

mod create;
mod list;
mod replica;
mod show;
mod verify;

use clap::Subcommand;
use datanode_client::{NodeId, PartitionId};
use serde::Serialize;

use super::connect::AdminArgs;
use crate::Failure;
use crate::output::{Output, Rows};

pub(crate) use create::placement;

/// Arguments of `datanode partition`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// How long to try.
    #[arg(long, global = true, default_value = "30s", value_name = "DURATION")]
    timeout: humantime::Duration,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create partitions, spread over the nodes.
    Create(create::Args),
    /// List the partitions of the given nodes.
    List,
    /// Show a partition with its replicas.
    Show {
        /// Which partition.
        id: PartitionId,
    },
    /// Delete partitions with all their data.
    Delete {
        /// Which partitions.
        #[arg(required = true)]
        ids: Vec<PartitionId>,
    },
    /// Make another node the leader.
    TransferLeader {
        /// Which partition.
        id: PartitionId,
        /// The new leader; a voter.
        #[arg(long, value_name = "NODE")]
        to: NodeId,
    },
    /// Add a replica on a node; it votes once it has caught up.
    AddReplica {
        /// Which partition.
        id: PartitionId,
        /// On which node.
        #[arg(long)]
        node: NodeId,
        /// Without a vote, for good.
        #[arg(long)]
        learner: bool,
    },
    /// Remove the replica on a node, with its data.
    RemoveReplica {
        /// Which partition.
        id: PartitionId,
        /// On which node.
        #[arg(long)]
        node: NodeId,
    },
    /// Compare the checksums of the replicas at one index.
    Verify {
        /// Which partitions.
        #[arg(required = true)]
        ids: Vec<PartitionId>,
    },
    /// Drop a node's copy and rebuild it from the group.
    Recover {
        /// Which partition.
        id: PartitionId,
        /// The node with the bad copy; the asked one unless given.
        #[arg(long)]
        node: Option<NodeId>,
    },
}

/// Does what was asked.
///
/// # Errors
/// [`Failure`] with the exit code it deserves.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Args { verb, timeout, admin, output } = args;
    let client = admin.client(*timeout)?;
    match verb {
        Verb::Create(args) => create::run(&client, args, output).await,
        Verb::List => list::run(&client, output).await,
        Verb::Show { id } => show::print(output, &client.partition(id).await?),
        Verb::Verify { ids } => verify::run(&client, &ids, output).await,
        Verb::AddReplica { id, node, learner } => {
            show::print(output, &replica::add(&client, id, node, learner).await?)
        }
        Verb::RemoveReplica { id, node } => {
            show::print(output, &replica::remove(&client, id, node).await?)
        }
        Verb::Recover { id, node } => {
            show::print(output, &client.recover_partition(id, node).await?)
        }
        Verb::TransferLeader { id, to } => {
            let leader_node_id = client.transfer_leader(id, to).await?;
            let moved = Moved { partition_id: id.get(), leader_node_id };
            output.print(&moved, |moved| {
                let mut rows = Rows::new(&[">PARTITION", ">LEADER"]);
                rows.push([moved.partition_id.to_string(), moved.leader_node_id.to_string()]);
                rows
            })?;
            Ok(())
        }
        Verb::Delete { ids } => {
            let mut deleted = Vec::new();
            for id in ids {
                let node_ids = client.delete_partition(id).await?;
                deleted.push(Deleted { partition_id: id.get(), node_ids });
            }
            output.print(&deleted, |deleted| {
                let mut rows = Rows::new(&[">PARTITION", "DELETED ON"]);
                for row in deleted {
                    rows.push([row.partition_id.to_string(), show::ids(&row.node_ids)]);
                }
                rows
            })?;
            Ok(())
        }
    }
}

#[derive(Debug, Serialize)]
struct Moved {
    partition_id: u64,
    leader_node_id: u64,
}

#[derive(Debug, Serialize)]
struct Deleted {
    partition_id: u64,
    /// Where a replica was dropped now.
    node_ids: Vec<u64>,
}
