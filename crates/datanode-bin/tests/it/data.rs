//! Bytes in and out through every node of a cluster.

use datanode_client::{Bytes, Client, Crc32c, ErrorKind, PartitionId};
use tokio::io::AsyncReadExt;

use crate::fixture::Nodes;

/// Bytes that differ from place to place.
fn bytes(len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 % 251) as u8).collect::<Vec<u8>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_takes_bytes_and_gives_those_of_the_others() {
    let nodes = Nodes::three(4).await;
    for writer in 1..=3 {
        for (index, len) in [0, 1, 4096, 200_000, 1 << 20].into_iter().enumerate() {
            let partition = nodes.partitions[index % nodes.partitions.len()];
            let stored = nodes.client_of(writer).put(partition, bytes(len)).await.unwrap();
            assert_eq!((stored.size, stored.crc32c), (len as u64, Crc32c::of(&bytes(len))));
            for reader in 1..=3 {
                let client = nodes.client_of(reader);
                let read = client.read(partition, stored.extent_id).collect().await.unwrap();
                assert!(read == bytes(len), "{len} bytes of node {writer} at node {reader}");
            }
        }
    }
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extent_lives_from_create_to_delete() {
    let nodes = Nodes::three(1).await;
    let partition = nodes.partitions[0];
    let client = nodes.client();
    let extent = client.create(partition).await.unwrap();
    assert_eq!(client.append(partition, extent, "abcdef".into()).await.unwrap().offset, 0);
    assert_eq!(client.append(partition, extent, "ghi".into()).await.unwrap().offset, 6);
    assert_eq!(client.write(partition, extent, 2, "CD".into()).await.unwrap().size, 9);
    assert_eq!(client.write(partition, extent, 8, "IJK".into()).await.unwrap().size, 11);
    let expected = &b"abCDefghIJK"[..];
    let read = async |range| client.read(partition, extent).range(range).collect().await.unwrap();
    for range in [0..11, 0..1, 3..9, 10..11, 11..11, 5..99] {
        let end = range.end.min(11) as usize;
        assert_eq!(read(range.clone()).await, expected[range.start as usize..end], "{range:?}");
    }
    let before = client.stat(partition, extent).await.unwrap();
    assert_eq!((before.size, before.sealed, before.crc32c), (11, false, None));
    for _ in 0..2 {
        let sealed = client.seal(partition, extent).await.unwrap();
        assert_eq!((sealed.size, sealed.crc32c), (11, Crc32c::of(expected)));
    }
    let listed = client.list(partition).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].extent_id, listed[0].sealed), (extent, true));
    assert!(
        listed[0].created_at >= before.created_at && listed[0].modified_at >= before.modified_at
    );
    assert_eq!(client.delete(partition, &[extent]).await.unwrap(), [(extent, true)]);
    assert_eq!(client.delete(partition, &[extent]).await.unwrap(), [(extent, false)]);
    let gone = client.stat(partition, extent).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_any_size_is_whole_or_not_there() {
    let nodes = Nodes::three(2).await;
    let partition = nodes.partitions[0];
    for (node, len) in [(1, 0), (2, 1), (3, 1 << 20), (1, (5 << 20) + 3)] {
        let client = nodes.client_of(node);
        let data = bytes(len);
        let source = async || Ok(std::io::Cursor::new(data.clone()));
        let stored = client.upload(partition, source).await.unwrap();
        assert_eq!((stored.size, stored.crc32c), (len as u64, Crc32c::of(&data)));
        let read = client.read(partition, stored.extent_id).collect().await.unwrap();
        assert!(read == data, "{len} bytes through node {node}");
    }
    let other = nodes.partitions[1];
    // Held until the end: a source whose writer is gone is at its end, and a
    // connection that has not seen the cancellation yet would say so.
    let mut sources = Vec::new();
    for node in 1..=3 {
        for len in [0, 1, 3 << 20] {
            sources.push(cancelled_upload(&nodes.client_of(node), other, bytes(len)).await);
        }
    }
    // The last reset may still be on its way.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(nodes.client().list(other).await.unwrap(), [], "a part passed for the whole");
    nodes.stop().await;
}

/// Sends some bytes of an upload, never the end, and goes away. Gives what the
/// end would come from.
async fn cancelled_upload(
    client: &Client,
    partition: PartitionId,
    data: Bytes,
) -> tokio::io::DuplexStream {
    let (mut sink, source) = tokio::io::duplex(data.len().max(1));
    tokio::io::AsyncWriteExt::write_all(&mut sink, &data).await.unwrap();
    let source = source.take(u64::MAX);
    let upload = client.upload_once(partition, source);
    let went_away = tokio::time::timeout(std::time::Duration::from_millis(300), upload).await;
    assert!(went_away.is_err(), "it ended although its source did not: {went_away:?}");
    sink
}
