//! Which node is asked: the leader once it is known, another one where one
//! refuses, and a port again as soon as it opens.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use datanode_client::{Client, Code, ErrorKind, ExtentId, Reason};

use crate::fake::{Act, Fake, client, partition};

const LONG: Duration = Duration::from_secs(20);

async fn append(client: &Client) {
    client.append(partition(), ExtentId::new(1).unwrap(), "data".into()).await.unwrap();
}

/// An address that nobody listens on.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn follows_a_hint_and_remembers_the_leader() {
    let leader = Fake::start([Act::Ok(None)]).await;
    let hint = vec![("leader_address", leader.address.to_string())];
    let told = Act::Fail(Code::FailedPrecondition, Some(Reason::NotLeader), hint);
    for follower in [vec![told], vec![Act::Ok(Some(leader.address))]] {
        let follower = Fake::start(follower).await;
        let client = follower.client(LONG);
        for _ in 0..3 {
            append(&client).await;
        }
        assert_eq!(follower.calls().len(), 1, "the first call goes to the only known node");
    }
    assert_eq!(leader.calls().len(), 3 + 2);
}

#[tokio::test]
async fn asks_another_node_where_one_refuses() {
    let open = Fake::start([Act::Ok(None)]).await;
    let client = client([closed(), open.address, closed()], LONG);
    let began = Instant::now();
    for _ in 0..10 {
        append(&client).await;
    }
    assert_eq!(open.calls().len(), 10);
    assert!(began.elapsed() < Duration::from_secs(1), "a refusal costs no pause");
}

#[tokio::test]
async fn says_that_nobody_can_be_reached() {
    let client = client([closed(), closed()], Duration::from_millis(300));
    let error = client.create(partition()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert_eq!(error.code(), None);
}

#[tokio::test]
async fn notices_within_300_ms_that_a_port_is_open_again() {
    let address = closed();
    let client = client([address], LONG);
    let waiting = tokio::spawn(async move {
        append(&client).await;
        Instant::now()
    });
    // Long enough for the pauses to have grown to their longest.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let opened = Instant::now();
    let _fake = Fake::start_at(address, [Act::Ok(None)]).await;
    let took = waiting.await.unwrap() - opened;
    assert!(took < Duration::from_millis(300), "noticed after {took:?}");
}
