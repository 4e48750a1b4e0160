//! `Hello`: nodes introduce themselves, tell whom else they know, and exchange
//! the routes that the other side does not know yet.
//!
//! Each node pulls: it names the last version of the peer's routes it has, and
//! gets what came later. What changes in between is pushed with the next
//! `Hello`, which is then sent at once. So both sides agree within moments, and
//! a `Hello` without news is small whatever the number of partitions. What they
//! know of other nodes goes the same way, but for its changes nobody is called.
//!
//! Where nothing changes, members of one group greet each other each second, and
//! all others less and less often: what a node says grows with its peers, hardly
//! with the cluster.

use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::peer_service_client::PeerServiceClient;
use partition_types::NodeId;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::book::Source;
use super::link::Broken;
use super::{PeerBook, identity};
use crate::status::Failure;

/// How often a peer is told that all is as it was.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// How often, in the end, a node with which this one shares no partition.
const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Changes that come together are told together.
pub(super) const SETTLE: Duration = Duration::from_millis(20);
/// A peer that runs answers from memory.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How far two nodes have told each other their routes.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Own changes up to here were pushed.
    ours: u64,
    /// The peer's changes up to here were pulled.
    theirs: u64,
    /// Likewise, of what this node knows of others.
    our_nodes: u64,
    /// And of what the peer knows.
    their_nodes: u64,
}

/// How long until the next `Hello`, after one that had to wait so long for want of
/// news.
pub(super) fn next_wait(waited: Duration, shares_partitions: bool) -> Duration {
    match shares_partitions {
        true => INTERVAL,
        false => (waited * 2).min(INTERVAL_MAX),
    }
}

impl Told {
    /// Pushes only what changes from now on: what there is already the peer
    /// pulls itself.
    pub(super) fn from_now_on(book: &PeerBook) -> Self {
        let ours = book.route_table().version();
        Self { ours, theirs: 0, our_nodes: 0, their_nodes: 0 }
    }
}

/// Says `Hello` once. Who answered.
pub(super) async fn say(
    book: &PeerBook,
    peer: &mut PeerServiceClient<Channel>,
    told: &mut Told,
    back: bool,
) -> Result<NodeId, Broken> {
    let news = book.route_table().news_since(told.ours);
    // Another process may answer there.
    let (nodes, our_nodes) = book.nodes_since(if back { 0 } else { told.our_nodes });
    let request = v1::HelloRequest {
        cluster_id: book.cluster_id().as_str().to_owned(),
        node: Some(book.local()),
        nodes,
        routes: news.routes,
        removed_partition_ids: news.removed,
        known_routes_version: told.theirs,
        known_nodes_version: told.their_nodes,
        back,
    };
    let answer = timeout(TIMEOUT, peer.hello(request)).await.map_err(|_| Broken::Slow)?;
    let answer = answer.map_err(|status| match status.code() {
        tonic::Code::FailedPrecondition | tonic::Code::InvalidArgument => {
            Broken::Refused(status.message().to_owned())
        }
        _ => Broken::Ended(status.message().to_owned()),
    })?;
    let answer = answer.into_inner();
    let node = answer.node.unwrap_or_default();
    let met = book.meet(node, Source::FirstHand);
    let node_id = met.map_err(|stranger| Broken::Refused(stranger.to_string()))?;
    take_in(book, node_id, answer.nodes, answer.routes, &answer.removed_partition_ids);
    *told = Told {
        ours: news.version,
        theirs: answer.routes_version,
        our_nodes,
        their_nodes: answer.nodes_version,
    };
    Ok(node_id)
}

/// A `Hello` that was taken in.
pub(super) struct Heard {
    /// Who said it.
    pub(super) from: NodeId,
    pub(super) answer: v1::HelloResponse,
}

/// Takes in a `Hello` and answers it.
pub(super) fn answer(book: &PeerBook, request: v1::HelloRequest) -> Result<Heard, Failure> {
    identity::same_cluster(book, &request.cluster_id)?;
    let from = book.meet(request.node.unwrap_or_default(), Source::FirstHand)?;
    take_in(book, from, request.nodes, request.routes, &request.removed_partition_ids);
    let news = book.route_table().news_since(request.known_routes_version);
    let (nodes, nodes_version) = book.nodes_since(request.known_nodes_version);
    let answer = v1::HelloResponse {
        node: Some(book.local()),
        nodes,
        routes: news.routes,
        routes_version: news.version,
        removed_partition_ids: news.removed,
        nodes_version,
    };
    Ok(Heard { from, answer })
}

fn take_in(
    book: &PeerBook,
    from: NodeId,
    nodes: Vec<v1::Node>,
    routes: Vec<v1::Route>,
    removed_partition_ids: &[u64],
) {
    for node in nodes {
        // What others say of a node that is known better is no news.
        let _ = book.meet(node, Source::Hearsay);
    }
    book.route_table().lost_by(from, removed_partition_ids);
    for route in routes {
        book.learn_route(route);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_nothing_is_greeted_less_and_less_often() {
        let mut wait = INTERVAL;
        let mut waits_s = Vec::new();
        for _ in 0..6 {
            wait = next_wait(wait, false);
            waits_s.push(wait.as_secs());
        }
        assert_eq!(waits_s, [2, 4, 8, 10, 10, 10]);
        assert_eq!(next_wait(wait, true), INTERVAL);
    }
}
