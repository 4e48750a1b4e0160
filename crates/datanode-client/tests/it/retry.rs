//! Which answers are repeated, for how long, and what is left at the end.

use std::time::{Duration, Instant};

use datanode_client::{Code, Error, ErrorKind, ExtentId, Reason, RequestId, Written};

use crate::fake::{Act, Fake, fail, partition};

const LONG: Duration = Duration::from_secs(20);

async fn append(fake: &Fake, timeout: Duration) -> Result<Written, Error> {
    let extent = ExtentId::new(1).unwrap();
    fake.client(timeout).append(partition(), extent, "data".into()).await
}

#[tokio::test]
async fn repeats_under_one_request_id_what_may_pass() {
    let passing = [
        fail(Code::Unavailable, Reason::NoLeader),
        fail(Code::Unavailable, Reason::Draining),
        fail(Code::Unavailable, Reason::Overloaded),
        fail(Code::Unavailable, Reason::Quarantined),
        fail(Code::FailedPrecondition, Reason::NotLeader),
        fail(Code::Unknown, Reason::OutcomeUnknown),
        fail(Code::InvalidArgument, Reason::RequestChecksumMismatch),
        Act::Fail(Code::Unavailable, None, Vec::new()),
        Act::Fail(Code::Unknown, None, Vec::new()),
        Act::Fail(Code::ResourceExhausted, None, Vec::new()),
    ];
    for act in passing {
        let fake = Fake::start([act.clone(), act.clone(), Act::Ok(None)]).await;
        append(&fake, LONG).await.unwrap_or_else(|error| panic!("{act:?}: {error:?}"));
        let calls = fake.calls();
        assert_eq!(calls.len(), 3, "{act:?}");
        assert_eq!(calls[0].request_id.len(), 16, "{act:?}");
        assert!(calls.iter().all(|call| call == &calls[0]), "{act:?}: {calls:?}");
    }
}

#[tokio::test]
async fn tells_at_once_what_will_not_pass() {
    let lasting = [
        (Code::NotFound, Reason::PartitionNotFound, ErrorKind::NotFound),
        (Code::NotFound, Reason::ExtentNotFound, ErrorKind::NotFound),
        (Code::OutOfRange, Reason::OffsetOutOfRange, ErrorKind::Invalid),
        (Code::InvalidArgument, Reason::MessageTooLarge, ErrorKind::Invalid),
        (Code::InvalidArgument, Reason::InvalidRequest, ErrorKind::Invalid),
        (Code::FailedPrecondition, Reason::ExtentSealed, ErrorKind::Conflict),
        (Code::ResourceExhausted, Reason::DiskFull, ErrorKind::Full),
        (Code::DataLoss, Reason::ChecksumMismatch, ErrorKind::Corrupt),
    ];
    for (code, reason, kind) in lasting {
        let details = vec![("size", "5".to_owned())];
        let fake = Fake::start([Act::Fail(code, Some(reason), details), Act::Ok(None)]).await;
        let error = append(&fake, LONG).await.unwrap_err();
        assert_eq!((error.kind(), error.code(), error.reason()), (kind, Some(code), Some(reason)));
        assert_eq!(error.metadata().unwrap()["size"], "5");
        assert_eq!(fake.calls().len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn gives_up_in_time_and_says_whether_it_may_be_done() {
    let timeout = Duration::from_millis(400);
    let cases = [
        (fail(Code::Unavailable, Reason::NoLeader), ErrorKind::Unavailable),
        (fail(Code::Unknown, Reason::OutcomeUnknown), ErrorKind::OutcomeUnknown),
        (Act::Hang, ErrorKind::OutcomeUnknown),
    ];
    for (act, kind) in cases {
        let fake = Fake::start([act.clone()]).await;
        let began = Instant::now();
        let error = append(&fake, timeout).await.unwrap_err();
        let took = began.elapsed();
        assert_eq!(error.kind(), kind, "{act:?}: {error:?}");
        assert!(took < timeout * 3, "{act:?} took {took:?}");
        let id = error.request_id().expect("a change has one");
        let calls = fake.calls();
        assert!(calls.iter().all(|call| call.request_id == id.as_bytes()), "{act:?}");
    }
}

#[tokio::test]
async fn repeats_by_hand_under_the_same_id() {
    let fake = Fake::start([Act::Ok(None)]).await;
    let id = RequestId::from_bytes([3; 16]);
    let client = fake.client(LONG).under(id);
    client.append(partition(), ExtentId::new(1).unwrap(), "x".into()).await.unwrap();
    assert_eq!(fake.calls()[0].request_id, id.as_bytes());
}

#[tokio::test]
async fn waits_as_long_as_a_node_asks() {
    let pause = Duration::from_millis(400);
    let fake = Fake::start([Act::FailFor(Reason::Overloaded, pause), Act::Ok(None)]).await;
    let began = Instant::now();
    append(&fake, LONG).await.unwrap();
    assert!(began.elapsed() >= pause);
}
