//! Who calls: each Raft stream and snapshot says once, in its metadata, which
//! life of which node of which cluster it comes from.

use partition_types::{ClusterId, Incarnation, NodeId, Reason};
use tonic::metadata::{MetadataMap, MetadataValue};

use super::PeerBook;
use super::book::Stranger;
use crate::status::Failure;

const CLUSTER_ID: &str = "x-datanode-cluster-id";
const NODE_ID: &str = "x-datanode-node-id";
const INCARNATION: &str = "x-datanode-incarnation-bin";

/// Signs a request as this node's.
pub(super) fn sign(book: &PeerBook, metadata: &mut MetadataMap) {
    let local = book.local();
    let cluster_id = book.cluster_id().as_str();
    let cluster_id = cluster_id.parse().expect("a cluster id is printable ASCII");
    metadata.insert(CLUSTER_ID, cluster_id);
    metadata.insert(NODE_ID, MetadataValue::from(local.node_id));
    metadata.insert_bin(INCARNATION, MetadataValue::from_bytes(&local.incarnation));
}

/// Who a request comes from, if this node knows it under that name. Whoever
/// said `Hello` is known.
pub(super) fn verify(book: &PeerBook, metadata: &MetadataMap) -> Result<NodeId, Failure> {
    let text = |key| metadata.get(key).and_then(|value| value.to_str().ok());
    let unsigned = || Failure::new(Reason::InvalidRequest, "the call does not say who calls");
    let cluster_id = text(CLUSTER_ID).ok_or_else(unsigned)?;
    let node_id: NodeId = text(NODE_ID).and_then(|text| text.parse().ok()).ok_or_else(unsigned)?;
    let incarnation = metadata
        .get_bin(INCARNATION)
        .and_then(|value| value.to_bytes().ok())
        .and_then(|bytes| Incarnation::from_wire(&bytes).ok())
        .ok_or_else(unsigned)?;
    same_cluster(book, cluster_id).map_err(Failure::from)?;
    match book.incarnation(node_id) {
        Some(known) if known == incarnation => Ok(node_id),
        Some(known) => {
            let stranger = Stranger::OtherIncarnation { node_id, known, came: incarnation };
            book.log_once(&stranger);
            Err(stranger.into())
        }
        None => Err(Failure::new(Reason::NodeNotFound, "say Hello first")
            .with("node_id", node_id.to_string())),
    }
}

/// Refuses what is of another cluster.
pub(super) fn same_cluster(book: &PeerBook, theirs: &str) -> Result<(), Stranger> {
    let ours: &ClusterId = book.cluster_id();
    if ours.as_str() == theirs {
        return Ok(());
    }
    let stranger =
        Stranger::ForeignCluster { theirs: theirs.to_owned(), ours: ours.as_str().to_owned() };
    book.log_once(&stranger);
    Err(stranger)
}

impl From<Stranger> for Failure {
    fn from(stranger: Stranger) -> Self {
        let reason = match &stranger {
            Stranger::NotANode(_) => Reason::InvalidRequest,
            Stranger::ForeignCluster { .. }
            | Stranger::OurId(_)
            | Stranger::OtherIncarnation { .. } => Reason::IncarnationMismatch,
        };
        Failure::new(reason, stranger.to_string())
    }
}
