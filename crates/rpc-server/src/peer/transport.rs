//! Carries Raft messages to the peers: `raft_glue::Transport` over PeerService.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datanode_proto::v1;
use datanode_proto::v1::peer_service_client::PeerServiceClient;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use partition_types::{Incarnation, Member, NodeId, PartitionId, Reason, Vote};
use raft_glue::{
    LeaderProbe, RaftReply, RaftRequest, Refusal, SnapshotHeader, Transport, TransportError,
};

use tokio::sync::mpsc;

use super::lane::{Closed, Lane};
use super::link::Sighting;
use super::links::Links;
use super::{convert, snapshot};
use crate::context::NodeContext;

/// The node's way to its peers. It connects to nobody before the peer port
/// is open: until then every call fails as unreachable.
pub struct PeerTransport {
    links: Links,
}

impl PeerTransport {
    /// The transport of the node with this context, whose store was opened in
    /// this incarnation.
    #[must_use]
    pub fn new(context: &NodeContext, incarnation: Incarnation) -> Arc<Self> {
        let book = context.peers().clone();
        book.set_incarnation(incarnation);
        Arc::new(Self { links: Links::new(book, context.config().max_message) })
    }

    /// The links it goes over.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// Begins to connect. The channel tells which peers come and go.
    pub(crate) fn start(&self) -> mpsc::UnboundedReceiver<Sighting> {
        self.links.start()
    }

    /// Closes every connection; every call fails from then on.
    pub(crate) async fn close(&self) {
        self.links.close().await;
    }

    /// The open stream to this very member.
    fn lane(&self, to: NodeId, member: &Member) -> Result<Arc<Lane>, TransportError> {
        let book = self.links.book();
        if book.incarnation(to).is_none() {
            book.meet_member(to, member);
        }
        let lane = self.links.get(to).and_then(|link| link.lane());
        let lane = lane.ok_or_else(|| TransportError::Unreachable("not connected".to_owned()))?;
        same_life(to, member, lane.incarnation())?;
        Ok(lane)
    }
}

impl Transport for PeerTransport {
    fn call(
        &self,
        to: NodeId,
        member: &Member,
        partition_id: PartitionId,
        request: RaftRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<RaftReply, TransportError>> {
        let lane = match self.lane(to, member) {
            Ok(lane) => lane,
            Err(error) => return futures::future::ready(Err(error)).boxed(),
        };
        let call = convert::call_to_wire(partition_id, &request, timeout);
        async move {
            let reply = tokio::time::timeout(timeout, lane.exchange(call)).await;
            let reply = reply.map_err(|_| TransportError::Timeout)?;
            let closed = |Closed| TransportError::Failed("the connection broke".to_owned());
            let reply = convert::reply_from_wire(reply.map_err(closed)?);
            Ok(reply.map_err(|malformed| TransportError::Failed(malformed.to_string()))??)
        }
        .boxed()
    }

    fn probe_leaders(
        &self,
        to: NodeId,
        member: &Member,
        partition_ids: Vec<PartitionId>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<LeaderProbe>, TransportError>> {
        // Not on the Raft stream: a leader asks its quorum before it answers.
        let channel = self.lane(to, member).and_then(|_| {
            let channel = self.links.book().forward_channel(to);
            channel.ok_or_else(|| TransportError::Unreachable("no address".to_owned()))
        });
        async move {
            let mut peer = PeerServiceClient::new(channel?);
            let partition_ids = partition_ids.into_iter().map(PartitionId::get).collect();
            let answer = peer.probe_leaders(v1::ProbeLeadersRequest { partition_ids });
            let answer = tokio::time::timeout(timeout, answer).await;
            let answer = answer.map_err(|_| TransportError::Timeout)?;
            let probes = answer.map_err(|status| snapshot::failed(&status))?.into_inner().probes;
            Ok(probes.into_iter().filter_map(convert::probe_from_wire).collect())
        }
        .boxed()
    }

    fn told_members(&self, partition_id: PartitionId) -> Vec<(NodeId, Member)> {
        let book = self.links.book();
        let route = book.route(partition_id).unwrap_or_default();
        let ids = route.replicas.iter().filter_map(|replica| NodeId::new(replica.node_id).ok());
        ids.filter_map(|id| Some((id, book.member(id)?))).collect()
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        member: &Member,
        header: SnapshotHeader,
        chunks: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> BoxFuture<'static, Result<Vote, TransportError>> {
        let book = self.links.book().clone();
        // The stream goes over the other connection, but only to a peer whose
        // life is proven by an open lane.
        match self.lane(to, member) {
            Ok(_) => async move { snapshot::send(&book, to, &header, chunks).await }.boxed(),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }
}

fn same_life(to: NodeId, member: &Member, now: Incarnation) -> Result<(), TransportError> {
    if member.incarnation == now {
        return Ok(());
    }
    let member = member.incarnation;
    let message = format!("node {to} is in incarnation {now}, the group knows {member}");
    Err(Refusal { reason: Reason::IncarnationMismatch, message }.into())
}
