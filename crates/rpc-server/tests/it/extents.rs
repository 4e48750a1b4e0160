//! ExtentService on one node: what it stores it gives back.

use bytes::Bytes;
use datanode_proto::v1;
use datanode_proto::v1::extent_service_client::ExtentServiceClient;
use partition_types::{Crc32c, RequestId};
use tonic::transport::Channel;

use crate::cluster::{Cluster, MAX_MESSAGE};

const PARTITION: u64 = 7;

/// Bytes whose every piece of eight is another one.
pub(crate) fn content(len: usize) -> Bytes {
    let mixed = (0u64..).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed.flat_map(u64::to_le_bytes).take(len).collect()
}

/// Reads a range, and checks that its frames are gapless and sum up.
pub(crate) async fn read(
    client: &mut ExtentServiceClient<Channel>,
    partition_id: u64,
    extent_id: u64,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, tonic::Status> {
    let consistency = v1::Consistency::Linearizable.into();
    let request = v1::ReadExtentRequest { partition_id, extent_id, offset, length, consistency };
    let mut frames = client.read_extent(request).await?.into_inner();
    let mut read = Vec::new();
    let mut count = 0;
    while let Some(frame) = frames.message().await? {
        assert_eq!(frame.offset, offset + read.len() as u64, "gapless");
        assert_eq!(frame.crc32c, Crc32c::of(&frame.data).get(), "summed");
        assert!(frame.data.len() <= 1024 * 1024, "frames are small");
        assert!(frame.applied_index > 0);
        read.extend_from_slice(&frame.data);
        count += 1;
    }
    assert!(count > 0, "at least one frame");
    Ok(read)
}

pub(crate) async fn put(
    client: &mut ExtentServiceClient<Channel>,
    partition_id: u64,
    data: Bytes,
) -> v1::PutExtentResponse {
    let crc32c = Some(Crc32c::of(&data).get());
    let request = v1::PutExtentRequest { partition_id, data, crc32c, request_id: Bytes::new() };
    client.put_extent(request).await.expect("stored").into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_back_what_was_put() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    for len in [0, 1, 1000, 128 * 1024, MAX_MESSAGE] {
        let data = content(len);
        let stored = put(&mut client, PARTITION, data.clone()).await;
        assert_eq!((stored.size, stored.crc32c), (len as u64, Crc32c::of(&data).get()));
        let all = read(&mut client, PARTITION, stored.extent_id, 0, 0).await.expect("read");
        assert_eq!(all, data, "{len} bytes");
        let (from, len_bytes) = (len / 3, len / 2);
        let end = (from + len_bytes).min(len);
        let part = read(&mut client, PARTITION, stored.extent_id, from as u64, len_bytes as u64);
        let expected = if len_bytes == 0 { &data[from..] } else { &data[from..end] };
        assert_eq!(part.await.expect("read"), expected, "{len} bytes, a part");
        let tail = read(&mut client, PARTITION, stored.extent_id, len as u64, 10).await;
        assert_eq!(tail.expect("at the end"), b"", "{len} bytes, at the end");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_overwrites_seals_and_deletes() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    let partition_id = PARTITION;
    let request = v1::CreateExtentRequest { partition_id, request_id: Bytes::new() };
    let extent_id = client.create_extent(request).await.expect("created").into_inner().extent_id;
    let append = |data: &'static [u8]| v1::AppendExtentRequest {
        partition_id,
        extent_id,
        data: Bytes::from_static(data),
        crc32c: None,
        request_id: Bytes::new(),
    };
    let first = client.append_extent(append(b"hello ")).await.expect("appended").into_inner();
    let second = client.append_extent(append(b"world")).await.expect("appended").into_inner();
    assert_eq!((first.offset, first.size, second.offset, second.size), (0, 6, 6, 11));
    let write = v1::WriteExtentRequest {
        partition_id,
        extent_id,
        offset: 10,
        data: Bytes::from_static(b"D and all"),
        crc32c: None,
        request_id: Bytes::new(),
    };
    assert_eq!(client.write_extent(write).await.expect("written").into_inner().size, 19);
    let whole = read(&mut client, PARTITION, extent_id, 0, 0).await.expect("read");
    assert_eq!(whole, b"hello worlD and all");
    let seal = || v1::SealExtentRequest { partition_id, extent_id, request_id: Bytes::new() };
    let sealed = client.seal_extent(seal()).await.expect("sealed").into_inner();
    assert_eq!((sealed.size, sealed.crc32c), (19, Crc32c::of(&whole).get()));
    let again = client.seal_extent(seal()).await.expect("sealed again").into_inner();
    assert_eq!(again, sealed);
    let stat = v1::StatExtentRequest { partition_id, extent_id, consistency: 0 };
    let stat = client.stat_extent(stat).await.expect("there").into_inner();
    assert_eq!((stat.size, stat.sealed, stat.crc32c), (19, true, Some(sealed.crc32c)));
    let delete = v1::DeleteExtentsRequest {
        partition_id,
        extent_ids: vec![extent_id, extent_id + 1000],
        request_id: Bytes::new(),
    };
    let deleted = client.delete_extents(delete).await.expect("deleted").into_inner();
    let results: Vec<_> = deleted.results.iter().map(|one| (one.extent_id, one.status())).collect();
    let expected =
        [(extent_id, v1::DeleteStatus::Deleted), (extent_id + 1000, v1::DeleteStatus::NotFound)];
    assert_eq!(results, expected);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_applied_once() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    let request_id = Bytes::copy_from_slice(RequestId::random().as_bytes());
    let request = v1::PutExtentRequest {
        partition_id: PARTITION,
        data: content(10),
        crc32c: None,
        request_id: request_id.clone(),
    };
    let first = client.put_extent(request.clone()).await.expect("stored").into_inner();
    let second = client.put_extent(request).await.expect("stored").into_inner();
    assert_eq!(first, second);
    let list = v1::ListExtentsRequest { partition_id: PARTITION, ..Default::default() };
    let listed = client.list_extents(list).await.expect("listed").into_inner();
    assert_eq!(listed.extents.len(), 1);
    // The same id for something else is the caller's fault, and said so.
    let other = v1::CreateExtentRequest { partition_id: PARTITION, request_id };
    let status = client.create_extent(other).await.expect_err("it was a put");
    let status =
        crate::cluster::check::<()>(Err(status), tonic::Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(crate::cluster::value(&status, "field").as_deref(), Some("request_id"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_pages() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    let mut ids = Vec::new();
    for len in 0..7 {
        ids.push(put(&mut client, PARTITION, content(len)).await.extent_id);
    }
    for page_size in [1, 3, 7, 8, 0] {
        let mut seen = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListExtentsRequest {
                partition_id: PARTITION,
                page_size,
                page_token,
                consistency: v1::Consistency::Stale.into(),
            };
            let page = client.list_extents(request).await.expect("a page").into_inner();
            assert!(page_size == 0 || page.extents.len() <= page_size as usize);
            seen.extend(page.extents.iter().map(|extent| extent.extent_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, ids, "pages of {page_size}");
    }
    cluster.stop().await;
}
