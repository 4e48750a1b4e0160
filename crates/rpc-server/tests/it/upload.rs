//! UploadExtent: any size, visible when complete, nothing when broken.

use std::time::Duration;

use bytes::Bytes;
use datanode_proto::v1;
use futures::stream::{self, StreamExt};
use partition_types::{Crc32c, RequestId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::cluster::{Cluster, MAX_MESSAGE, check};
use crate::extents::{content, read};

const PARTITION: u64 = 7;

/// The messages of an upload, cut at `message_len`.
fn messages(data: &Bytes, message_len: usize, request_id: Bytes) -> Vec<v1::UploadExtentRequest> {
    let mut messages =
        vec![v1::UploadExtentRequest { partition_id: PARTITION, request_id, ..Default::default() }];
    messages.extend(data.chunks(message_len).map(|chunk| v1::UploadExtentRequest {
        data: Bytes::copy_from_slice(chunk),
        crc32c: Some(Crc32c::of(chunk).get()),
        ..Default::default()
    }));
    messages
}

async fn upload(
    cluster: &Cluster,
    messages: Vec<v1::UploadExtentRequest>,
) -> Result<v1::UploadExtentResponse, Status> {
    let mut client = cluster.node(1).extents();
    client.upload_extent(stream::iter(messages)).await.map(tonic::Response::into_inner)
}

async fn listed(cluster: &Cluster) -> usize {
    let request = v1::ListExtentsRequest { partition_id: PARTITION, ..Default::default() };
    let answer = cluster.node(1).extents().list_extents(request).await.expect("listed");
    answer.into_inner().extents.len()
}

fn staged(cluster: &Cluster) -> u64 {
    let id = partition_types::PartitionId::new(PARTITION).expect("above 0");
    let partition = cluster.node(1).host.get(id).expect("there");
    partition.state().expect("sound").usage().staged_count
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_extents_of_any_size() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    for len in [0, 1, MAX_MESSAGE, 1024 * 1024, 5 * 1024 * 1024 + 17] {
        let data = content(len);
        let stored = upload(&cluster, messages(&data, 200_000, Bytes::new())).await;
        let stored = stored.unwrap_or_else(|status| panic!("{len} bytes: {status:?}"));
        assert_eq!((stored.size, stored.crc32c), (len as u64, Crc32c::of(&data).get()));
        let back = read(&mut client, PARTITION, stored.extent_id, 0, 0).await.expect("read");
        assert!(back == data, "{len} bytes came back changed");
    }
    assert_eq!(staged(&cluster), 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_upload_is_the_same_extent() {
    let cluster = Cluster::single(PARTITION).await;
    let data = content(3 * 1024 * 1024 + 5);
    let request_id = Bytes::copy_from_slice(RequestId::random().as_bytes());
    // The second one is cut otherwise, and does not need to know.
    let first = upload(&cluster, messages(&data, 100_000, request_id.clone())).await;
    let second = upload(&cluster, messages(&data, 77_777, request_id.clone())).await;
    assert_eq!(first.expect("stored"), second.expect("stored before"));
    assert_eq!(listed(&cluster).await, 1);
    let other = upload(&cluster, messages(&content(10), 10, request_id)).await;
    check(other, Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(listed(&cluster).await, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_messages_leave_nothing() {
    let cluster = Cluster::single(PARTITION).await;
    let data = content(3 * 1024 * 1024);
    let good = || messages(&data, MAX_MESSAGE, Bytes::new());
    let mut wrong_sum = good();
    wrong_sum[7].crc32c = Some(1);
    check(upload(&cluster, wrong_sum).await, Code::InvalidArgument, "REQUEST_CHECKSUM_MISMATCH");
    let mut large = good();
    large[7].data = content(MAX_MESSAGE + 1);
    large[7].crc32c = None;
    check(upload(&cluster, large).await, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    let mut very_large = good();
    very_large[7].data = content(3 * MAX_MESSAGE);
    check(upload(&cluster, very_large).await, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    let mut twice = good();
    twice[7].partition_id = PARTITION;
    check(upload(&cluster, twice).await, Code::InvalidArgument, "INVALID_REQUEST");
    check(upload(&cluster, Vec::new()).await, Code::InvalidArgument, "INVALID_REQUEST");
    let mut nowhere = good();
    nowhere[0].partition_id = 99;
    check(upload(&cluster, nowhere).await, Code::NotFound, "PARTITION_NOT_FOUND");
    assert_eq!(listed(&cluster).await, 0);
    crate::cluster::eventually("broken uploads are dropped", || staged(&cluster) == 0).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_publishes_nothing() {
    let cluster = Cluster::single(PARTITION).await;
    let data = content(2 * 1024 * 1024);
    for round in 0..8 {
        let (sender, receiver) = mpsc::channel(100);
        let mut client = cluster.node(1).extents();
        let call = tokio::spawn(async move {
            client.upload_extent(ReceiverStream::new(receiver)).await.map(drop)
        });
        for message in messages(&data, MAX_MESSAGE, Bytes::new()) {
            sender.send(message).await.expect("the call is under way");
        }
        crate::cluster::eventually("it is staged", || staged(&cluster) == 1).await;
        tokio::time::sleep(Duration::from_millis(5 * round)).await;
        // The stream is reset; to tonic alone this looks like its end. The
        // sender lives on, so that the client itself does not end it well.
        call.abort();
        assert!(call.await.expect_err("aborted").is_cancelled());
        crate::cluster::eventually("it is dropped", || staged(&cluster) == 0).await;
        assert_eq!(listed(&cluster).await, 0, "round {round}");
        drop(sender);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_with_a_request_id_can_be_repeated() {
    let cluster = Cluster::single(PARTITION).await;
    let data = content(3 * 1024 * 1024);
    let request_id = Bytes::copy_from_slice(RequestId::random().as_bytes());
    let mut broken = messages(&data, MAX_MESSAGE, request_id.clone());
    broken[9].crc32c = Some(1);
    check(upload(&cluster, broken).await, Code::InvalidArgument, "REQUEST_CHECKSUM_MISMATCH");
    assert_eq!(listed(&cluster).await, 0);
    let stored = upload(&cluster, messages(&data, 100_000, request_id)).await.expect("stored");
    assert_eq!((stored.size, stored.crc32c), (data.len() as u64, Crc32c::of(&data).get()));
    assert_eq!((listed(&cluster).await, staged(&cluster)), (1, 0));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_while_the_leadership_moves() {
    let cluster = Cluster::start(3).await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    let data = content(8 * 1024 * 1024);
    let slow = stream::iter(messages(&data, MAX_MESSAGE, Bytes::new())).then(|message| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        message
    });
    let mut client = cluster.node(1).extents();
    let call = tokio::spawn(async move { client.upload_extent(slow).await });
    let id = partition_types::PartitionId::new(PARTITION).expect("above 0");
    let mut moves = 0;
    while !call.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Some(leader) = cluster.leader_now(PARTITION) else { continue };
        let to = partition_types::NodeId::new(leader % 3 + 1).expect("above 0");
        let partition = cluster.node(leader).host.get(id).expect("there");
        // On a busy machine one may come too late: then another follows.
        moves += usize::from(partition.transfer_leader(to).await.is_ok());
    }
    assert!(moves > 0, "the leadership never moved");
    let stored = call.await.expect("no panic").expect("stored").into_inner();
    assert_eq!(stored.crc32c, Crc32c::of(&data).get());
    for node_id in 1..=3 {
        let mut client = cluster.node(node_id).extents();
        let back = read(&mut client, PARTITION, stored.extent_id, 0, 0).await.expect("read");
        assert!(back == data, "node {node_id} gave other bytes");
    }
    cluster.stop().await;
}
