//! Asks the peers for a route that nobody told yet.

use std::collections::HashMap;
use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::peer_service_client::PeerServiceClient;
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use partition_types::PartitionId;

use super::PeerBook;
use super::identity::PeerChannel;

/// A peer that runs answers from memory; one that does not answer in this time
/// is taken for unreachable.
const ASK_TIMEOUT: Duration = Duration::from_millis(800);

type Answer = Shared<BoxFuture<'static, Option<v1::Route>>>;

/// The questions that are under way: many callers share one.
#[derive(Default)]
pub(super) struct Finder {
    asking: Mutex<HashMap<PartitionId, Answer>>,
}

impl Finder {
    /// Asks every peer at once. `None`: none that answered knows.
    pub(super) async fn ask(
        &self,
        book: &PeerBook,
        partition_id: PartitionId,
    ) -> Option<v1::Route> {
        let answer = {
            let mut asking = self.asking.lock();
            let question = || ask_all(book.clone(), partition_id).boxed().shared();
            asking.entry(partition_id).or_insert_with(question).clone()
        };
        let route = answer.clone().await;
        let mut asking = self.asking.lock();
        if asking.get(&partition_id).is_some_and(|current| current.ptr_eq(&answer)) {
            asking.remove(&partition_id);
        }
        route
    }
}

async fn ask_all(book: PeerBook, partition_id: PartitionId) -> Option<v1::Route> {
    let channels = book.node_ids().into_iter().filter_map(|node_id| book.forward_channel(node_id));
    let mut answers: FuturesUnordered<_> =
        channels.map(|channel| ask_one(channel, partition_id)).collect();
    while let Some(answer) = answers.next().await {
        let Some(route) = answer else { continue };
        let names_leader = route.leader_node_id != 0;
        book.learn_route(route);
        if names_leader {
            break;
        }
    }
    book.route(partition_id)
}

async fn ask_one(channel: PeerChannel, partition_id: PartitionId) -> Option<v1::Route> {
    let mut peer = PeerServiceClient::new(channel);
    let request = v1::FindRouteRequest { partition_id: partition_id.get() };
    let answer = tokio::time::timeout(ASK_TIMEOUT, peer.find_route(request)).await;
    answer.ok()?.ok()?.into_inner().route
}
