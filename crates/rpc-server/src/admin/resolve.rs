//! From the replicas that an operator names to members: who they are, in which
//! incarnation, where.

use std::collections::BTreeSet;

use datanode_proto::v1;
use futures::future::try_join_all;
use partition_types::NodeId;

use super::target::node_not_found;
use crate::context::NodeContext;
use crate::peer::introduce;
use crate::status::Failure;

/// More replicas than anybody needs.
const REPLICAS_MAX: usize = 15;

/// Checks a list of replicas of a request. The ids, in its order.
///
/// # Errors
/// A field violation: too many, an id of 0, an id twice.
pub(super) fn checked(
    field: &'static str,
    replicas: &[v1::PartitionReplica],
) -> Result<Vec<NodeId>, Failure> {
    if replicas.len() > REPLICAS_MAX {
        return Err(Failure::field(field, format!("must be at most {REPLICAS_MAX}")));
    }
    let mut seen = BTreeSet::new();
    let mut node_ids = Vec::with_capacity(replicas.len());
    for (index, replica) in replicas.iter().enumerate() {
        let at = || format!("{field}[{index}].node_id");
        let node_id = NodeId::new(replica.node_id)
            .map_err(|invalid| Failure::field(at(), invalid.problem))?;
        if !seen.insert(node_id) {
            return Err(Failure::field(at(), "is there twice"));
        }
        node_ids.push(node_id);
    }
    Ok(node_ids)
}

/// The members that an operator's replicas are, in their order. A node that is
/// not known yet is said `Hello` to at the address given.
///
/// # Errors
/// NODE_NOT_FOUND for a node that is not known and not found at its address.
pub(super) async fn members(
    context: &NodeContext,
    replicas: &[v1::PartitionReplica],
) -> Result<Vec<v1::Member>, Failure> {
    try_join_all(replicas.iter().map(|replica| member(context, replica))).await
}

async fn member(
    context: &NodeContext,
    replica: &v1::PartitionReplica,
) -> Result<v1::Member, Failure> {
    let node_id = NodeId::new(replica.node_id)?;
    let known = || context.peers().node(node_id);
    let node = match known() {
        Some(node) => node,
        None if replica.peer_address.is_empty() => return Err(node_not_found(node_id)),
        None => {
            introduce(context, &replica.peer_address).await.map_err(|error| {
                let address = &replica.peer_address;
                node_not_found(node_id).with("peer_address", address).with("cause", error)
            })?;
            // Another node may answer there.
            known().ok_or_else(|| node_not_found(node_id))?
        }
    };
    Ok(v1::Member {
        node_id: node.node_id,
        incarnation: node.incarnation,
        peer_address: node.peer_address,
        client_address: node.client_address,
        admin_address: node.admin_address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_replicas_are_checked() {
        let list = |ids: &[u64]| -> Vec<v1::PartitionReplica> {
            let replica = |id: &u64| v1::PartitionReplica { node_id: *id, ..Default::default() };
            ids.iter().map(replica).collect()
        };
        let many: Vec<u64> = (1..=16).collect();
        let cases: [(&[u64], Option<&str>); 5] = [
            (&[], None),
            (&[3, 1, 2], None),
            (&[1, 0], Some("voters[1].node_id must be above 0")),
            (&[1, 2, 1], Some("voters[2].node_id is there twice")),
            (&many, Some("voters must be at most 15")),
        ];
        for (ids, problem) in cases {
            let checked = checked("voters", &list(ids));
            match problem {
                None => {
                    let checked = checked.expect("a good list");
                    assert_eq!(checked.iter().map(|id| id.get()).collect::<Vec<_>>(), ids);
                }
                Some(problem) => {
                    let failure = checked.expect_err("a bad list").to_string();
                    assert!(failure.ends_with(problem), "{failure}");
                }
            }
        }
    }
}
