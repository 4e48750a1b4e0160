//! Who is let in, who is found, and how soon one that was away is back.

use datanode_proto::v1;
use datanode_proto::v1::peer_service_client::PeerServiceClient;
use tonic::Code;

use super::*;
use crate::peer::NoRoute;

/// A peer that is back is to be noticed this soon. A busy machine may delay
/// one try, but not all of them.
const NOTICED: Duration = Duration::from_millis(300);
const TRIES: usize = 5;

#[tokio::test]
async fn a_peer_that_is_back_is_noticed_at_once() {
    let a = Node::start(Identity::new(1), &[]).await;
    let mut b = Node::start(Identity::new(2), &[]).await;
    a.connect(&b).await;
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        let address = b.stop().await;
        sleep(Duration::from_millis(400)).await;
        b = Node::start_at(address, Identity::new(2), &[]).await;
        let opened = Instant::now();
        a.connect(&b).await;
        best = best.min(opened.elapsed());
        if best < NOTICED {
            return;
        }
    }
    panic!("noticed after {best:?} at best");
}

#[tokio::test]
async fn a_peer_that_is_away_is_unreachable_at_once() {
    let a = Node::start(Identity::new(1), &[]).await;
    let mut a = a;
    let b = Node::start(Identity::new(2), &[]).await;
    a.connect(&b).await;
    assert_eq!(a.seen.recv().await, Some(Sighting::Back(b.id())));
    let (member, id) = (b.member(), b.id());
    b.stop().await;
    let gone = tokio::time::timeout(SOON, a.seen.recv()).await;
    assert_eq!(gone.expect("it is told"), Some(Sighting::Gone(id)));
    let until = Instant::now() + SOON;
    loop {
        let began = Instant::now();
        let request = RaftRequest::ReadIndex;
        match a.transport.call(id, &member, partition_id(1), request, SOON).await {
            Err(TransportError::Unreachable(_)) => {
                assert!(began.elapsed() < SOON / 2, "it does not wait for its timeout");
                return;
            }
            // The moment in which the connection breaks.
            Err(TransportError::Failed(_)) => assert!(Instant::now() < until),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn another_life_of_a_node_is_not_the_member() {
    let a = Node::start(Identity::new(1), &[]).await;
    let b = Node::start(Identity::new(2), &[]).await;
    a.connect(&b).await;
    let old_member = b.member();
    let address = b.stop().await;
    // Its disk was wiped: the same id and address, another incarnation.
    let wiped = Identity { life: 9, ..Identity::new(2) };
    let b = Node::start_at(address, wiped, &[a.address]).await;
    sleep(Duration::from_millis(500)).await;
    for member in [old_member, b.member()] {
        let request = RaftRequest::ReadIndex;
        let call = a.transport.call(b.id(), &member, partition_id(1), request, SOON).await;
        assert!(call.is_err(), "{call:?}");
    }
    assert!(b.call(&a, 1, RaftRequest::ReadIndex, SOON).await.is_err());
    assert!(a.groups.came.lock().is_empty() && b.groups.came.lock().is_empty());
}

#[tokio::test]
async fn a_call_for_an_older_life_is_not_made() {
    let a = Node::start(Identity::new(1), &[]).await;
    let b = Node::start(Identity::new(2), &[a.address]).await;
    b.connect(&a).await;
    eventually("a is connected to b", || a.transport.links().get(b.id()).is_some()).await;
    a.connect(&b).await;
    b.groups.came.lock().clear();
    let older = Member { incarnation: Incarnation::from_bytes([7; 16]), ..b.member() };
    let request = RaftRequest::ReadIndex;
    match a.transport.call(b.id(), &older, partition_id(1), request, SOON).await {
        Err(TransportError::Refused(refusal)) => {
            assert_eq!(refusal.reason, Reason::IncarnationMismatch);
        }
        other => panic!("{other:?}"),
    }
    assert!(b.groups.came.lock().is_empty());
}

#[tokio::test]
async fn a_node_of_another_cluster_is_not_let_in() {
    let a = Node::start(Identity::new(1), &[]).await;
    let foreign = Identity { cluster: "other", ..Identity::new(2) };
    let b = Node::start(foreign, &[a.address]).await;
    let call = a.call(&b, 1, RaftRequest::ReadIndex, SOON).await;
    assert!(matches!(call, Err(TransportError::Unreachable(_))), "{call:?}");
    sleep(Duration::from_millis(500)).await;
    assert!(a.call(&b, 1, RaftRequest::ReadIndex, SOON).await.is_err());
    assert!(b.context.peers().nodes().is_empty());
    assert!(b.groups.came.lock().is_empty());
}

/// A call that deletes, from `from` to the port of `to`, said to be meant for
/// that life of a node.
async fn delete(
    from: &Node,
    to: &Node,
    meant: Option<u8>,
) -> Result<tonic::Response<v1::DeleteReplicaResponse>, tonic::Status> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", to.address));
    let channel = endpoint.expect("an address").connect_lazy();
    let mut request = tonic::Request::new(v1::DeleteReplicaRequest { partition_id: 1 });
    if let Some(life) = meant {
        let signature = from.context.peers().signature(Incarnation::from_bytes([life; 16]));
        signature.sign(request.metadata_mut());
    }
    PeerServiceClient::new(channel).delete_replica(request).await
}

#[tokio::test]
async fn calls_are_carried_out_for_whom_they_are_meant() {
    let a = Node::start(Identity::new(1), &[]).await;
    let b = Node::start(Identity::new(2), &[a.address]).await;
    b.connect(&a).await;
    let stranger = Node::start(Identity::new(3), &[]).await;
    let foreign = Node::start(Identity { cluster: "other", ..Identity::new(4) }, &[]).await;
    let twin = Node::start(Identity { life: 9, ..Identity::new(2) }, &[]).await;
    // Let in, it finds that the store is not open here.
    let let_in = Code::Unavailable;
    let cases = [
        (&b, Some(1), let_in),
        (&stranger, Some(1), let_in),
        (&b, None, Code::InvalidArgument),
        // The address belonged to another node.
        (&b, Some(7), Code::FailedPrecondition),
        (&foreign, Some(1), Code::FailedPrecondition),
        // Of a node that is known in another incarnation.
        (&twin, Some(1), Code::FailedPrecondition),
    ];
    for (from, meant, code) in cases {
        let status = delete(from, &a, meant).await.expect_err("nothing is here");
        let who = (from.identity.id, from.identity.life, meant);
        assert_eq!(status.code(), code, "{who:?}: {status:?}");
    }
}

#[tokio::test]
async fn a_stream_takes_a_hello_first() {
    let a = Node::start(Identity::new(1), &[]).await;
    let stranger = Node::start(Identity::new(3), &[]).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", a.address));
    let mut peer = PeerServiceClient::new(endpoint.expect("an address").connect_lazy());
    let calls = || futures::stream::iter([v1::RaftRequest::default()]);
    let unsigned = peer.raft(calls()).await.expect_err("it is not signed");
    assert_eq!(unsigned.code(), Code::InvalidArgument);
    let mut request = tonic::Request::new(calls());
    let signature = stranger.context.peers().signature(Incarnation::from_bytes([1; 16]));
    signature.sign(request.metadata_mut());
    let unknown = peer.raft(request).await.expect_err("it is not known");
    assert_eq!(unknown.code(), Code::NotFound);
}

fn route(partition_id: u64, node_id: u64, epoch: u64) -> v1::Route {
    let replica = v1::RouteReplica {
        node_id,
        client_address: format!("client-of-{node_id}"),
        learner: false,
    };
    v1::Route { partition_id, replicas: vec![replica], leader_node_id: node_id, epoch }
}

#[tokio::test]
async fn nodes_and_routes_spread_from_one_seed() {
    let a = Node::start(Identity::new(1), &[]).await;
    a.context.peers().set_own_routes(vec![route(10, 1, 1)]);
    let b = Node::start(Identity::new(2), &[a.address]).await;
    let c = Node::start(Identity::new(3), &[a.address]).await;
    let (from_b, from_c) = (b.context.peers(), c.context.peers());
    eventually("b and c know each other", || {
        from_b.client_address(c.id()).is_some() && from_c.client_address(b.id()).is_some()
    })
    .await;
    assert_eq!(from_c.client_address(b.id()).as_deref(), Some("client-of-2"));
    eventually("c was told the route", || from_c.route(partition_id(10)).is_some()).await;

    // A change is told at once, and a partition that went is forgotten.
    b.context.peers().set_own_routes(vec![route(20, 2, 5)]);
    eventually("c was told b's", || from_c.route(partition_id(20)).is_some()).await;
    b.context.peers().set_own_routes(Vec::new());
    eventually("c forgot b's", || from_c.route(partition_id(20)).is_none()).await;
}

#[tokio::test]
async fn a_route_nobody_told_is_asked_for() {
    let a = Node::start(Identity::new(1), &[]).await;
    let b = Node::start(Identity::new(2), &[a.address]).await;
    b.connect(&a).await;
    // Learnt, not its own: a does not tell it unasked.
    a.context.peers().learn_route(route(10, 7, 1));
    assert!(b.context.peers().route(partition_id(10)).is_none());
    let askers = (0..20).map(|_| b.context.peers().find_route(partition_id(10)));
    let found = futures::future::join_all(askers).await;
    assert!(found.iter().all(|found| found.as_ref() == Ok(&route(10, 7, 1))));
    assert!(b.context.peers().route(partition_id(10)).is_some(), "it is remembered");
    let nowhere = b.context.peers().find_route(partition_id(11)).await;
    assert_eq!(nowhere, Err(NoRoute::Unknown));
    a.stop().await;
    let nobody = b.context.peers().find_route(partition_id(11)).await;
    assert_eq!(nobody, Err(NoRoute::NobodyAnswers));
}
