//! What must be refused, each with its code, reason and details, by every node
//! of a cluster, whether it leads or forwards; and that nothing is lost by it.

use datanode_client::{Bytes, Code, Crc32c, PartitionId, Reason};
use datanode_proto::v1::extent_service_client::ExtentServiceClient;
use datanode_proto::v1::partition_service_client::PartitionServiceClient;
use datanode_proto::v1::*;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use tonic_types::StatusExt;

use crate::fixture::Nodes;

/// `limits.max_message`, unless it is set.
const MAX_MESSAGE: usize = 4 << 20;
const CONTENT: &[u8] = b"what is there stays";
const NOWHERE: u64 = 999;

async fn channel(address: impl ToString) -> Channel {
    let uri = format!("http://{}", address.to_string());
    Endpoint::from_shared(uri).unwrap().connect().await.unwrap()
}

/// Checks an error against the table of the contract; `details` must be in its
/// metadata.
#[track_caller]
fn check<T: std::fmt::Debug>(
    what: &str,
    answer: Result<Response<T>, Status>,
    (code, reason): (Code, Reason),
    details: &[(&str, &str)],
) {
    let status = answer.expect_err(what);
    assert_eq!(status.code(), code, "{what}: {status:?}");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{what}: {status:?}"));
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        (reason.as_str(), "datanode"),
        "{what}"
    );
    for (key, value) in details {
        assert_eq!(info.metadata.get(*key).map(String::as_str), Some(*value), "{what}: {key}");
    }
}

const NO_PARTITION: (Code, Reason) = (Code::NotFound, Reason::PartitionNotFound);
const NO_EXTENT: (Code, Reason) = (Code::NotFound, Reason::ExtentNotFound);
const BEYOND: (Code, Reason) = (Code::OutOfRange, Reason::OffsetOutOfRange);
const SEALED: (Code, Reason) = (Code::FailedPrecondition, Reason::ExtentSealed);
const INVALID: (Code, Reason) = (Code::InvalidArgument, Reason::InvalidRequest);
const TOO_LARGE: (Code, Reason) = (Code::InvalidArgument, Reason::MessageTooLarge);
const BAD_SUM: (Code, Reason) = (Code::InvalidArgument, Reason::RequestChecksumMismatch);

/// One node's client port, with requests that are right but for what a case
/// changes.
struct Port {
    extents: ExtentServiceClient<Channel>,
    partition_id: u64,
    /// Open, with [`CONTENT`].
    extent_id: u64,
}

impl Port {
    fn put(&self, data: impl Into<Bytes>) -> PutExtentRequest {
        let data = data.into();
        PutExtentRequest { partition_id: self.partition_id, data, ..Default::default() }
    }

    fn append(&self) -> AppendExtentRequest {
        AppendExtentRequest {
            partition_id: self.partition_id,
            extent_id: self.extent_id,
            data: "more".into(),
            ..Default::default()
        }
    }

    fn write(&self, offset: u64) -> WriteExtentRequest {
        WriteExtentRequest {
            partition_id: self.partition_id,
            extent_id: self.extent_id,
            offset,
            data: "more".into(),
            ..Default::default()
        }
    }

    fn range(&self, offset: u64, length: u64) -> ReadExtentRequest {
        let (partition_id, extent_id) = (self.partition_id, self.extent_id);
        ReadExtentRequest { partition_id, extent_id, offset, length, consistency: 0 }
    }

    /// Reads to the end of the stream: its error may come late.
    async fn read(&mut self, request: ReadExtentRequest) -> Result<Response<Vec<u8>>, Status> {
        let mut frames = self.extents.read_extent(request).await?.into_inner();
        let mut data = Vec::new();
        while let Some(frame) = frames.message().await? {
            assert_eq!(frame.crc32c, Crc32c::of(&frame.data).get());
            data.extend_from_slice(&frame.data);
        }
        Ok(Response::new(data))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_refuses_what_is_wrong_and_nothing_is_lost() {
    let nodes = Nodes::three(3).await;
    let client = nodes.client();
    for node in nodes.cluster.nodes() {
        let channel = channel(node.ports().client).await;
        for partition in &nodes.partitions {
            let extent = client.create(*partition).await.unwrap();
            client.append(*partition, extent, CONTENT.into()).await.unwrap();
            let mut port = Port {
                extents: ExtentServiceClient::new(channel.clone()),
                partition_id: partition.get(),
                extent_id: extent.get(),
            };
            unknown(&mut port).await;
            ranges(&mut port).await;
            fields(&mut port).await;
            let read = client.read(*partition, extent).collect().await.unwrap();
            assert_eq!(read, CONTENT, "a refused request changed something");
            repeats(&mut port).await;
            sealed(&mut port).await;
        }
        sizes(&mut ExtentServiceClient::new(channel), nodes.partitions[0]).await;
    }
    partitions(&nodes).await;
    nodes.stop().await;
}

/// No such partition, no such extent.
async fn unknown(port: &mut Port) {
    let elsewhere = PutExtentRequest { partition_id: NOWHERE, ..port.put("x") };
    check("put", port.extents.put_extent(elsewhere).await, NO_PARTITION, &[]);
    let elsewhere = AppendExtentRequest { partition_id: NOWHERE, ..port.append() };
    check("append", port.extents.append_extent(elsewhere).await, NO_PARTITION, &[]);
    let elsewhere = ReadExtentRequest { partition_id: NOWHERE, ..port.range(0, 0) };
    check("read", port.read(elsewhere).await, NO_PARTITION, &[]);
    let elsewhere = ListExtentsRequest { partition_id: NOWHERE, ..Default::default() };
    check("list", port.extents.list_extents(elsewhere).await, NO_PARTITION, &[]);

    let nothing = AppendExtentRequest { extent_id: NOWHERE, ..port.append() };
    check("append", port.extents.append_extent(nothing).await, NO_EXTENT, &[]);
    let nothing = WriteExtentRequest { extent_id: NOWHERE, ..port.write(0) };
    check("write", port.extents.write_extent(nothing).await, NO_EXTENT, &[]);
    let nothing = ReadExtentRequest { extent_id: NOWHERE, ..port.range(0, 0) };
    check("read", port.read(nothing).await, NO_EXTENT, &[]);
    let partition_id = port.partition_id;
    let nothing = StatExtentRequest { partition_id, extent_id: NOWHERE, consistency: 0 };
    check("stat", port.extents.stat_extent(nothing).await, NO_EXTENT, &[]);
    let request_id = Bytes::new();
    let nothing = SealExtentRequest { partition_id, extent_id: NOWHERE, request_id };
    check("seal", port.extents.seal_extent(nothing).await, NO_EXTENT, &[]);
}

/// Offsets and lengths at and beyond every edge.
async fn ranges(port: &mut Port) {
    let end = CONTENT.len() as u64;
    let size = end.to_string();
    for offset in [end + 1, u64::MAX - 1, u64::MAX] {
        let details = [("size", size.as_str())];
        check("write", port.extents.write_extent(port.write(offset)).await, BEYOND, &details);
        check("read", port.read(port.range(offset, 0)).await, BEYOND, &details);
    }
    let cases = [
        ((0, 0), CONTENT),
        ((0, u64::MAX), CONTENT),
        ((end, 0), b""),
        ((end, 1), b""),
        ((end - 1, 1), &CONTENT[CONTENT.len() - 1..]),
        ((5, u64::MAX - 5), &CONTENT[5..]),
    ];
    for ((offset, length), expected) in cases {
        let read = port.read(port.range(offset, length)).await.unwrap();
        assert_eq!(read.into_inner(), expected, "{length} from {offset}");
    }
    for (offset, length) in [(1, u64::MAX), (end, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 1)] {
        let details = [("field", "length")];
        check("overflow", port.read(port.range(offset, length)).await, INVALID, &details);
    }
}

/// Fields that are not as they must be.
async fn fields(port: &mut Port) {
    let nowhere = PutExtentRequest { partition_id: 0, ..port.put("x") };
    let details = [("field", "partition_id")];
    check("partition 0", port.extents.put_extent(nowhere).await, INVALID, &details);
    let nothing = AppendExtentRequest { extent_id: 0, ..port.append() };
    check(
        "extent 0",
        port.extents.append_extent(nothing).await,
        INVALID,
        &[("field", "extent_id")],
    );
    for len in [1, 15, 17] {
        let odd = PutExtentRequest { request_id: vec![1; len].into(), ..port.put("x") };
        let details = [("field", "request_id")];
        check("request id", port.extents.put_extent(odd).await, INVALID, &details);
    }
    let wrong = Some(Crc32c::of(b"other").get());
    let put = PutExtentRequest { crc32c: wrong, ..port.put("x") };
    check("put", port.extents.put_extent(put).await, BAD_SUM, &[]);
    let append = AppendExtentRequest { crc32c: wrong, ..port.append() };
    check("append", port.extents.append_extent(append).await, BAD_SUM, &[]);
    let write = WriteExtentRequest { crc32c: wrong, ..port.write(0) };
    check("write", port.extents.write_extent(write).await, BAD_SUM, &[]);
    let partition_id = port.partition_id;
    let upload = [
        UploadExtentRequest { partition_id, ..Default::default() },
        UploadExtentRequest { data: "x".into(), crc32c: wrong, ..Default::default() },
    ];
    check("upload", port.extents.upload_extent(futures::stream::iter(upload)).await, BAD_SUM, &[]);
    let headless = [UploadExtentRequest { data: "x".into(), ..Default::default() }];
    let details = [("field", "partition_id")];
    check(
        "upload",
        port.extents.upload_extent(futures::stream::iter(headless)).await,
        INVALID,
        &details,
    );
    let consistency = ReadExtentRequest { consistency: 77, ..port.range(0, 0) };
    check("consistency", port.read(consistency).await, INVALID, &[("field", "consistency")]);
}

/// The same request id again: the first outcome, applied once.
async fn repeats(port: &mut Port) {
    let request_id = Bytes::copy_from_slice(uuid::Uuid::now_v7().as_bytes());
    let put = PutExtentRequest { request_id: request_id.clone(), ..port.put("once") };
    let first = port.extents.put_extent(put.clone()).await.unwrap().into_inner();
    assert_eq!(port.extents.put_extent(put).await.unwrap().into_inner(), first);

    let request_id = Bytes::copy_from_slice(uuid::Uuid::now_v7().as_bytes());
    let append = AppendExtentRequest { request_id, ..port.append() };
    let first = port.extents.append_extent(append.clone()).await.unwrap().into_inner();
    assert_eq!(first.offset, CONTENT.len() as u64);
    for _ in 0..3 {
        let again = port.extents.append_extent(append.clone()).await.unwrap().into_inner();
        assert_eq!(again, first);
    }
    let read = port.read(port.range(0, 0)).await.unwrap().into_inner();
    assert_eq!(read, [CONTENT, b"more"].concat(), "appended more than once");
}

/// A sealed extent takes no more; sealing again is fine.
async fn sealed(port: &mut Port) {
    let Port { partition_id, extent_id, .. } = *port;
    let request_id = Bytes::new();
    let seal = SealExtentRequest { partition_id, extent_id, request_id };
    let first = port.extents.seal_extent(seal.clone()).await.unwrap().into_inner();
    assert_eq!(port.extents.seal_extent(seal).await.unwrap().into_inner(), first);
    check("append", port.extents.append_extent(port.append()).await, SEALED, &[]);
    check("write", port.extents.write_extent(port.write(0)).await, SEALED, &[]);
    let put = port.extents.put_extent(port.put("")).await.unwrap().into_inner();
    assert_eq!((put.size, put.crc32c), (0, 0), "an empty file");
    let empty = ReadExtentRequest { extent_id: put.extent_id, ..port.range(0, 0) };
    assert!(port.read(empty).await.unwrap().into_inner().is_empty());
}

/// A message at the limit, and one byte over it.
async fn sizes(extents: &mut ExtentServiceClient<Channel>, partition: PartitionId) {
    let put = |len: usize| PutExtentRequest {
        partition_id: partition.get(),
        data: vec![b'x'; len].into(),
        ..Default::default()
    };
    let stored = extents.put_extent(put(MAX_MESSAGE)).await.unwrap().into_inner();
    assert_eq!(stored.size, MAX_MESSAGE as u64);
    for len in [MAX_MESSAGE + 1, 2 * MAX_MESSAGE] {
        check("too large", extents.put_extent(put(len)).await, TOO_LARGE, &[]);
    }
}

/// The admin port: unknown nodes, and creating twice.
async fn partitions(nodes: &Nodes) {
    let replicas = |ids: &[u64]| {
        let replica = |id: &u64| PartitionReplica { node_id: *id, ..Default::default() };
        ids.iter().map(replica).collect::<Vec<_>>()
    };
    for node in nodes.cluster.nodes() {
        let channel = channel(node.ports().admin).await;
        let mut service = PartitionServiceClient::new(channel);
        let create = |partition_id, ids: &[u64]| CreatePartitionRequest {
            partition_id,
            replicas: replicas(ids),
        };
        let no_node = (Code::NotFound, Reason::NodeNotFound);
        let stranger = service.create_partition(create(50, &[1, 2, NOWHERE])).await;
        check("create on an unknown node", stranger, no_node, &[]);
        let again = service.create_partition(create(1, &[1, 2, 3])).await.unwrap().into_inner();
        assert!(!again.created, "the same call again is fine");
        let exists = (Code::AlreadyExists, Reason::PartitionExists);
        let other = service.create_partition(create(1, &[1, 2])).await;
        check("create with other replicas", other, exists, &[]);
        check("create 0", service.create_partition(create(0, &[1])).await, INVALID, &[]);
        check("create nowhere", service.create_partition(create(51, &[])).await, INVALID, &[]);
        check(
            "create twice on one",
            service.create_partition(create(52, &[1, 1])).await,
            INVALID,
            &[],
        );
        let transfer = TransferLeaderRequest { partition_id: 1, to_node_id: NOWHERE };
        check("transfer", service.transfer_leader(transfer).await, no_node, &[]);
        let transfer = TransferLeaderRequest { partition_id: NOWHERE, to_node_id: 1 };
        check("transfer", service.transfer_leader(transfer).await, NO_PARTITION, &[]);
        let get = GetPartitionRequest { partition_id: NOWHERE };
        check("get", service.get_partition(get).await, NO_PARTITION, &[]);
        let delete = DeletePartitionRequest { partition_id: NOWHERE };
        assert!(service.delete_partition(delete).await.is_ok(), "deleting what is absent is fine");
    }
}
