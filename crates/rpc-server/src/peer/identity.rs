//! Who calls whom: each call between nodes says in its metadata from which life
//! of which node of which cluster it comes, and which life of a node it means.
//!
//! An address may belong to another node tomorrow, and to another cluster: what
//! was meant for the one must not be carried out by the other.

use std::sync::Arc;

use datanode_proto::v1;
use partition_types::{ClusterId, Incarnation, NodeId, Reason};
use tonic::metadata::{Ascii, Binary, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::PeerBook;
use super::book::Stranger;
use crate::status::Failure;

const CLUSTER_ID: &str = "x-datanode-cluster-id";
const NODE_ID: &str = "x-datanode-node-id";
const INCARNATION: &str = "x-datanode-incarnation-bin";
/// The incarnation of the node that is meant.
const MEANT: &str = "x-datanode-to-incarnation-bin";

/// A connection to a peer on which every call is signed.
pub(crate) type PeerChannel = InterceptedService<Channel, Signature>;

/// What a node's calls to one peer say. A cheap handle.
#[derive(Clone)]
pub(crate) struct Signature(Arc<Signed>);

struct Signed {
    cluster_id: MetadataValue<Ascii>,
    node_id: MetadataValue<Ascii>,
    incarnation: MetadataValue<Binary>,
    meant: MetadataValue<Binary>,
}

impl Signature {
    /// From this node, to that life of a peer.
    pub(super) fn new(cluster_id: &ClusterId, local: &v1::Node, meant: Incarnation) -> Self {
        let cluster_id = cluster_id.as_str().parse();
        Self(Arc::new(Signed {
            cluster_id: cluster_id.expect("a cluster id is printable ASCII"),
            node_id: MetadataValue::from(local.node_id),
            incarnation: MetadataValue::from_bytes(&local.incarnation),
            meant: MetadataValue::from_bytes(meant.as_bytes()),
        }))
    }

    /// Signs one call.
    pub(super) fn sign(&self, metadata: &mut MetadataMap) {
        metadata.insert(CLUSTER_ID, self.0.cluster_id.clone());
        metadata.insert(NODE_ID, self.0.node_id.clone());
        metadata.insert_bin(INCARNATION, self.0.incarnation.clone());
        metadata.insert_bin(MEANT, self.0.meant.clone());
    }
}

impl Interceptor for Signature {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        self.sign(request.metadata_mut());
        Ok(request)
    }
}

/// Refuses calls on the peer port that are signed wrongly: by a stranger, or
/// for another node. Calls without a signature pass; who needs one asks for
/// its [`sender`].
#[derive(Clone)]
pub(crate) struct Guard {
    book: PeerBook,
}

impl Guard {
    /// The guard of the node with this book.
    pub(crate) fn new(book: PeerBook) -> Self {
        Self { book }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if request.metadata().contains_key(NODE_ID) {
            check(&self.book, request.metadata())?;
        }
        Ok(request)
    }
}

/// Which node signed a call that the [`Guard`] let pass.
///
/// # Errors
/// When nobody did.
pub(super) fn sender(metadata: &MetadataMap) -> Result<NodeId, Failure> {
    text(metadata, NODE_ID).and_then(|text| text.parse().ok()).ok_or_else(unsigned)
}

/// Likewise, and in which of its lives.
///
/// # Errors
/// When nobody did.
pub(super) fn sender_in_life(metadata: &MetadataMap) -> Result<(NodeId, Incarnation), Failure> {
    Ok((sender(metadata)?, incarnation(metadata, INCARNATION)?))
}

/// Likewise, a node that said `Hello` before.
///
/// # Errors
/// When nobody did, or an unknown node.
pub(super) fn known_sender(book: &PeerBook, metadata: &MetadataMap) -> Result<NodeId, Failure> {
    let node_id = sender(metadata)?;
    match book.incarnation(node_id) {
        Some(_) => Ok(node_id),
        None => {
            let message = format!("node {node_id} did not say Hello");
            Err(Failure::new(Reason::NodeNotFound, message).with("node_id", node_id))
        }
    }
}

fn check(book: &PeerBook, metadata: &MetadataMap) -> Result<(), Failure> {
    same_cluster(book, text(metadata, CLUSTER_ID).ok_or_else(unsigned)?)?;
    let node_id = sender(metadata)?;
    let came = incarnation(metadata, INCARNATION)?;
    let meant = incarnation(metadata, MEANT)?;
    if book.local().incarnation != meant.as_bytes()[..] {
        let message = format!("the call of node {node_id} is for incarnation {meant}");
        return Err(Failure::new(Reason::IncarnationMismatch, message));
    }
    match book.incarnation(node_id) {
        Some(known) if known != came => {
            let stranger = Stranger::OtherIncarnation { node_id, known, came };
            book.log_once(&stranger);
            Err(stranger.into())
        }
        _ => Ok(()),
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok())
}

fn incarnation(metadata: &MetadataMap, key: &str) -> Result<Incarnation, Failure> {
    let bytes = metadata.get_bin(key).and_then(|value| value.to_bytes().ok());
    bytes.and_then(|bytes| Incarnation::from_wire(&bytes).ok()).ok_or_else(unsigned)
}

fn unsigned() -> Failure {
    Failure::new(Reason::InvalidRequest, "the call does not say which node calls")
}

/// Refuses what is of another cluster.
pub(super) fn same_cluster(book: &PeerBook, theirs: &str) -> Result<(), Stranger> {
    let ours = book.cluster_id().as_str();
    if ours == theirs {
        return Ok(());
    }
    let stranger = Stranger::ForeignCluster { theirs: theirs.to_owned(), ours: ours.to_owned() };
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
