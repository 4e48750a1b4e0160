//! Which nodes there are, as the given ones know it.

use std::collections::BTreeMap;

use datanode_client::AdminClient;
use datanode_client::proto::Node;
use futures::future::join_all;

use crate::Failure;

/// The nodes behind the endpoints and those that they know, by id.
///
/// # Errors
/// [`Failure`] when no endpoint answers.
pub(super) async fn known(client: &AdminClient) -> Result<BTreeMap<u64, Node>, Failure> {
    let endpoints: Vec<AdminClient> = client.each().collect();
    let answers = join_all(endpoints.iter().map(AdminClient::status)).await;
    let mut nodes = BTreeMap::new();
    let mut failed = None;
    for answer in answers {
        match answer {
            Ok(status) => {
                let known = status.peers.into_iter().chain(status.node);
                nodes.extend(known.map(|node| (node.node_id, node)));
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if nodes.is_empty() => Err(error.into()),
        _ => Ok(nodes),
    }
}
