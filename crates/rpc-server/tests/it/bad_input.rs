//! Every wrong request has its typed error, and changes nothing.

use bytes::Bytes;
use datanode_proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use crate::cluster::{Cluster, check, value};
use crate::extents::{content, put, read};

const PARTITION: u64 = 7;

fn append(partition_id: u64, extent_id: u64) -> v1::AppendExtentRequest {
    v1::AppendExtentRequest {
        partition_id,
        extent_id,
        data: Bytes::from_static(b"data"),
        crc32c: None,
        request_id: Bytes::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_things_are_not_found() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    let status =
        check(client.append_extent(append(99, 1)).await, Code::NotFound, "PARTITION_NOT_FOUND");
    assert_eq!(value(&status, "partition_id").as_deref(), Some("99"));
    let extent = check(
        client.append_extent(append(PARTITION, 99)).await,
        Code::NotFound,
        "EXTENT_NOT_FOUND",
    );
    assert_eq!(value(&extent, "extent_id").as_deref(), Some("99"));
    check(read(&mut client, PARTITION, 99, 0, 0).await, Code::NotFound, "EXTENT_NOT_FOUND");
    let stat = v1::StatExtentRequest { partition_id: PARTITION, extent_id: 99, consistency: 0 };
    check(client.stat_extent(stat).await, Code::NotFound, "EXTENT_NOT_FOUND");
    let seal =
        v1::SealExtentRequest { partition_id: PARTITION, extent_id: 99, request_id: Bytes::new() };
    check(client.seal_extent(seal).await, Code::NotFound, "EXTENT_NOT_FOUND");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_checked_before_anything_else() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    let mut violated = Vec::new();
    let mut violation = |result: Result<(), tonic::Status>| {
        let status = check(result, Code::InvalidArgument, "INVALID_REQUEST");
        let bad = status.get_details_bad_request().expect("field violations");
        violated.extend(bad.field_violations.into_iter().map(|one| one.field));
    };
    violation(client.append_extent(append(0, 1)).await.map(drop));
    violation(client.append_extent(append(PARTITION, 0)).await.map(drop));
    let short_id = v1::AppendExtentRequest {
        request_id: Bytes::from_static(b"short"),
        ..append(PARTITION, 1)
    };
    violation(client.append_extent(short_id).await.map(drop));
    let token = v1::ListExtentsRequest {
        partition_id: PARTITION,
        page_token: "next please".to_owned(),
        ..Default::default()
    };
    violation(client.list_extents(token).await.map(drop));
    let stat = v1::StatExtentRequest { partition_id: PARTITION, extent_id: 1, consistency: 9 };
    violation(client.stat_extent(stat).await.map(drop));
    for (offset, length) in [(u64::MAX, 1), (1, u64::MAX)] {
        violation(read(&mut client, PARTITION, 1, offset, length).await.map(drop));
    }
    let delete = |extent_ids| v1::DeleteExtentsRequest {
        partition_id: PARTITION,
        extent_ids,
        request_id: Bytes::new(),
    };
    violation(client.delete_extents(delete(vec![1; 1001])).await.map(drop));
    violation(client.delete_extents(delete(vec![1, 0])).await.map(drop));
    let expected = [
        "partition_id",
        "extent_id",
        "request_id",
        "page_token",
        "consistency",
        "length",
        "length",
        "extent_ids",
        "extent_ids[1]",
    ];
    assert_eq!(violated, expected);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_and_seals_hold() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    let data = content(100);
    let sealed = put(&mut client, PARTITION, data.clone()).await.extent_id;
    for (offset, length) in [(101, 0), (u64::MAX, 0), (101, 5)] {
        let status = check(
            read(&mut client, PARTITION, sealed, offset, length).await,
            Code::OutOfRange,
            "OFFSET_OUT_OF_RANGE",
        );
        assert_eq!(value(&status, "size").as_deref(), Some("100"), "offset {offset}");
    }
    let far = read(&mut client, PARTITION, sealed, 90, u64::MAX - 90).await;
    assert_eq!(far.expect("cut at the end"), &data[90..]);
    check(
        client.append_extent(append(PARTITION, sealed)).await,
        Code::FailedPrecondition,
        "EXTENT_SEALED",
    );
    let request = v1::CreateExtentRequest { partition_id: PARTITION, request_id: Bytes::new() };
    let open = client.create_extent(request).await.expect("created").into_inner().extent_id;
    for offset in [1, u64::MAX] {
        let hole = v1::WriteExtentRequest {
            partition_id: PARTITION,
            extent_id: open,
            offset,
            data: Bytes::from_static(b"data"),
            crc32c: None,
            request_id: Bytes::new(),
        };
        let status =
            check(client.write_extent(hole).await, Code::OutOfRange, "OFFSET_OUT_OF_RANGE");
        assert_eq!(value(&status, "size").as_deref(), Some("0"), "offset {offset}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_is_refused_before_it_is_stored() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    let wrong = v1::PutExtentRequest {
        partition_id: PARTITION,
        data: content(10),
        crc32c: Some(1),
        request_id: Bytes::new(),
    };
    check(client.put_extent(wrong).await, Code::InvalidArgument, "REQUEST_CHECKSUM_MISMATCH");
    let list = v1::ListExtentsRequest { partition_id: PARTITION, ..Default::default() };
    assert!(client.list_extents(list).await.expect("listed").into_inner().extents.is_empty());
    cluster.stop().await;
}
