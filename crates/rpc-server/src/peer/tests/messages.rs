//! Messages of many groups on one stream, and snapshots beside it.

use futures::future::join_all;
use futures::stream;
use partition_types::{Command, Crc32c, Entry, Membership, Op, Payload};

use super::*;

async fn pair() -> (Node, Node) {
    let a = Node::start(Identity::new(1), &[]).await;
    let b = Node::start(Identity::new(2), &[]).await;
    a.connect(&b).await;
    (a, b)
}

fn vote(term: u64) -> Vote {
    Vote { term, voted_for: Some(node_id(1)), committed: true }
}

/// An entry with this much payload.
fn entry(index: u64, len_bytes: usize) -> Entry {
    let data: Bytes = (0..=250u8).cycle().take(len_bytes).collect();
    let crc32c = Crc32c::of(&data);
    let op = Op::Put { data, crc32c };
    Entry {
        log_id: log_id(index),
        payload: Payload::Command(Command { request_id: None, at_ms: 1, op }),
    }
}

#[tokio::test]
async fn every_group_gets_its_own_reply() {
    let (a, b) = pair().await;
    let calls = (1..=500).map(|id| a.call(&b, id, RaftRequest::ReadIndex, SOON));
    for (reply, id) in join_all(calls).await.into_iter().zip(1..) {
        let expected = RaftReply::ReadIndex { read: Some(log_id(id)) };
        assert_eq!(reply.expect("a reply"), expected);
    }
    let came = b.groups.came.lock();
    assert!(came.iter().all(|(from, ..)| *from == a.id()));
}

#[tokio::test]
async fn messages_arrive_as_they_were_sent() {
    let (a, b) = pair().await;
    let largest = MAX_MESSAGE + 1024;
    let requests = [
        RaftRequest::Append {
            vote: vote(3),
            prev: Some(log_id(6)),
            entries: vec![
                entry(7, 0),
                entry(8, 100_000),
                Entry { log_id: log_id(9), payload: Payload::Blank },
                Entry {
                    log_id: log_id(10),
                    payload: Payload::Membership(Membership {
                        voter_sets: vec![[b.id()].into(), [a.id(), b.id()].into()],
                        members: [(a.id(), a.member()), (b.id(), b.member())].into(),
                    }),
                },
            ],
            committed: Some(log_id(5)),
        },
        RaftRequest::Append {
            vote: Vote { term: 0, voted_for: None, committed: false },
            prev: None,
            entries: vec![entry(0, largest)],
            committed: None,
        },
        RaftRequest::Vote {
            vote: vote(4),
            last: None,
            leadership_transfer: true,
            leader_gone: false,
        },
        RaftRequest::PreVote { vote: vote(4), last: Some(log_id(0)), leader_gone: true },
        RaftRequest::Transfer { from: vote(4), to: b.id(), last: Some(log_id(9)) },
    ];
    b.groups.came.lock().clear();
    for request in requests.clone() {
        let limit = Duration::from_millis(match request {
            RaftRequest::Transfer { .. } => 20,
            _ => 10_000,
        });
        let reply = a.call(&b, 9, request.clone(), limit).await;
        match (&request, reply) {
            (RaftRequest::Append { .. }, Ok(reply)) => {
                assert_eq!(reply, RaftReply::Append(AppendReply::Success));
            }
            (
                RaftRequest::Vote { .. } | RaftRequest::PreVote { .. },
                Err(TransportError::Refused(refusal)),
            ) => {
                assert_eq!(refusal.reason, Reason::Quarantined);
            }
            (RaftRequest::Transfer { .. }, Err(TransportError::Timeout)) => {}
            (request, reply) => panic!("{} gave {reply:?}", request.name()),
        }
    }
    let came = b.groups.came.lock();
    let came: Vec<&RaftRequest> = came.iter().map(|(.., request)| request).collect();
    assert_eq!(came, requests.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn one_group_that_hangs_holds_up_no_other() {
    let (a, b) = pair().await;
    let hang = RaftRequest::Transfer { from: vote(1), to: b.id(), last: None };
    let (hung, others) = tokio::join!(
        a.call(&b, 1, hang, Duration::from_millis(300)),
        join_all((2..50).map(|id| a.call(&b, id, RaftRequest::ReadIndex, SOON))),
    );
    assert!(matches!(hung, Err(TransportError::Timeout)), "{hung:?}");
    assert!(others.iter().all(Result::is_ok));
}

fn header() -> SnapshotHeader {
    SnapshotHeader {
        partition_id: partition_id(4),
        vote: vote(5),
        last: log_id(77),
        membership: Membership::default(),
        membership_log_id: Some(log_id(70)),
    }
}

#[tokio::test]
async fn a_snapshot_comes_whole() {
    let (a, b) = pair().await;
    let chunks: Vec<Bytes> = (0..20u8).map(|i| Bytes::from(vec![i; 300_000])).collect();
    let stream = stream::iter(chunks.clone().into_iter().map(Ok)).boxed();
    let sent = a.transport.send_snapshot(b.id(), &b.member(), header(), stream).await;
    assert_eq!(sent.expect("it is installed"), vote(5));
    assert_eq!(*b.groups.snapshots.lock(), [Ok(chunks)]);
}

#[tokio::test]
async fn a_snapshot_that_breaks_is_known_as_broken() {
    let (a, b) = pair().await;
    let chunk = Bytes::from_static(b"first");
    let stream = stream::iter([Ok(chunk), Err(io::Error::other("bad sector"))]).boxed();
    let sent = a.transport.send_snapshot(b.id(), &b.member(), header(), stream).await;
    let error = sent.expect_err("a chunk could not be read").to_string();
    assert!(error.contains("bad sector"), "{error}");
    eventually("the receiver gives up", || !b.groups.snapshots.lock().is_empty()).await;
    let received = b.groups.snapshots.lock()[0].clone();
    let broken = received.expect_err("not all chunks came");
    assert!(broken.contains("without its end"), "{broken}");
}
