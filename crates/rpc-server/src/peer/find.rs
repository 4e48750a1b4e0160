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

type Answer = Shared<BoxFuture<'static, Result<v1::Route, NoRoute>>>;

/// Why a route was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No peer that answered knows the partition.
    Unknown,
    /// There are peers, and none of them answered, or would have this node.
    NobodyAnswers,
}

/// The questions that are under way: many callers share one.
#[derive(Default)]
pub(super) struct Finder {
    asking: Mutex<HashMap<PartitionId, Answer>>,
}

impl Finder {
    /// Asks every peer at once.
    pub(super) async fn ask(
        &self,
        book: &PeerBook,
        partition_id: PartitionId,
    ) -> Result<v1::Route, NoRoute> {
        let answer = {
            let mut asking = self.asking.lock();
            let question = || ask_all(book.clone(), partition_id).boxed().shared();
            asking.entry(partition_id).or_insert_with(question).clone()
        };
        let asked = Asked { finder: self, partition_id, answer };
        asked.answer.clone().await
    }
}

/// A question under way, until whoever asked has the answer or gave up: clients may
/// ask for anything, and stay for nothing.
struct Asked<'a> {
    finder: &'a Finder,
    partition_id: PartitionId,
    answer: Answer,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut asking = self.finder.asking.lock();
        // Others that still wait for it have it; who comes later asks anew.
        if asking.get(&self.partition_id).is_some_and(|current| current.ptr_eq(&self.answer)) {
            asking.remove(&self.partition_id);
        }
    }
}

async fn ask_all(book: PeerBook, partition_id: PartitionId) -> Result<v1::Route, NoRoute> {
    let channels = book.node_ids().into_iter().filter_map(|node_id| book.forward_channel(node_id));
    let mut answers: FuturesUnordered<_> =
        channels.map(|channel| ask_one(channel, partition_id)).collect();
    let mut no_route = if answers.is_empty() { NoRoute::Unknown } else { NoRoute::NobodyAnswers };
    while let Some(answer) = answers.next().await {
        let Some(known) = answer else { continue };
        no_route = NoRoute::Unknown;
        let Some(route) = known else { continue };
        let names_leader = route.leader_node_id != 0;
        book.learn_route(route);
        if names_leader {
            break;
        }
    }
    book.route(partition_id).ok_or(no_route)
}

/// What a peer knows; `None` when it does not answer.
async fn ask_one(channel: PeerChannel, partition_id: PartitionId) -> Option<Option<v1::Route>> {
    let mut peer = PeerServiceClient::new(channel);
    let request = v1::FindRouteRequest { partition_id: partition_id.get() };
    let answer = tokio::time::timeout(ASK_TIMEOUT, peer.find_route(request)).await;
    Some(answer.ok()?.ok()?.into_inner().route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::book::Source;
    use crate::peer::book::tests::{book, node};

    #[tokio::test]
    async fn who_gives_up_leaves_no_question_behind() {
        let (book, finder) = (book(), Finder::default());
        // A peer that is there and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = silent.local_addr().expect("it is bound").to_string();
        book.meet(node(2, 2, &address), Source::FirstHand).expect("let in");
        for id in 1..=100 {
            let id = PartitionId::new(id).expect("above 0");
            let mut asked = Box::pin(finder.ask(&book, id));
            assert!(asked.as_mut().now_or_never().is_none(), "nobody answers");
            assert_eq!(finder.asking.lock().len(), 1);
            drop(asked);
            assert!(finder.asking.lock().is_empty());
        }
    }
}
