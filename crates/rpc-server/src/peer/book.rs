//! Who the other nodes are, where they listen, and the routes they told.
//!
//! A node is known by its id *and* its incarnation, from three sources that
//! outrank each other in this order: the memberships of the groups here, what
//! the node said itself, what others said of it. A node that turns up in
//! another incarnation than the better source has is refused: its disk is not
//! the one that the groups count on. Once no group here counts on the old one
//! any more, it is let go of, and the new one comes in with its next `Hello`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datanode_proto::v1;
use parking_lot::{Mutex, RwLock};
use partition_types::{ClusterId, Incarnation, InvalidId, Member, NodeId, PartitionId, RequestId};
use tokio::sync::{Notify, watch};

use super::channel;
use super::find::{Finder, NoRoute};
use super::identity::{PeerChannel, Signature};
use super::routes::{self, RouteTable};
use crate::config::ServerConfig;

/// More different refusals than this are not logged.
const REFUSED_MAX: usize = 1000;

/// The other nodes and their routes. A cheap handle.
#[derive(Clone)]
pub struct PeerBook {
    inner: Arc<Inner>,
}

struct Inner {
    cluster_id: ClusterId,
    node_id: NodeId,
    seeds: Vec<String>,
    local: RwLock<v1::Node>,
    nodes: RwLock<BTreeMap<NodeId, Known>>,
    /// Of the last change of those; changes under their lock.
    nodes_version: AtomicU64,
    changed: watch::Sender<u64>,
    news: watch::Sender<u64>,
    /// Which refusals were logged already.
    refused: Mutex<HashSet<String>>,
    /// Nodes that said `Hello` in another life than they are known in.
    doubted: Mutex<BTreeSet<NodeId>>,
    doubt: Notify,
    /// Nodes that run in another process than they did.
    restarted: Mutex<BTreeSet<NodeId>>,
    restart: Notify,
    routes: RouteTable,
    finder: Finder,
}

/// How a node came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Another node told.
    Hearsay,
    /// The node said so itself.
    FirstHand,
    /// A group here has it as a member.
    Membership,
}

struct Known {
    node: v1::Node,
    incarnation: Incarnation,
    source: Source,
    forward: Option<PeerChannel>,
    connected: bool,
    /// Of its last change.
    version: u64,
}

/// Why a node is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    /// It belongs to another cluster.
    #[error("node is of cluster {theirs:?}, this one is of cluster {ours:?}")]
    ForeignCluster {
        /// As it said.
        theirs: String,
        /// As it is here.
        ours: String,
    },
    /// Its id or incarnation is none.
    #[error("not a node: {0}")]
    NotANode(#[from] InvalidId),
    /// It calls itself what this node is called.
    #[error("another node uses this node's id {0}")]
    OurId(NodeId),
    /// It is known in another incarnation.
    #[error(
        "node {node_id} was known in incarnation {known} and came in incarnation {came}: its data \
         directories are not those that its groups count on; put them back, or remove its \
         replicas and add them again"
    )]
    OtherIncarnation {
        /// Which node.
        node_id: NodeId,
        /// Which incarnation it has.
        known: Incarnation,
        /// Which one turned up.
        came: Incarnation,
    },
}

impl PeerBook {
    /// A book that knows the seeds only.
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let local = v1::Node {
            node_id: config.node_id.get(),
            incarnation: Bytes::new(),
            client_address: config.advertise.client.clone(),
            admin_address: config.advertise.admin.clone(),
            peer_address: config.advertise.peer.clone(),
            stage: v1::Stage::Load.into(),
            version: config.version.clone(),
            process: Bytes::copy_from_slice(RequestId::random().as_bytes()),
        };
        let inner = Inner {
            cluster_id: config.cluster_id.clone(),
            node_id: config.node_id,
            seeds: config.seeds.clone(),
            local: RwLock::new(local),
            nodes: RwLock::default(),
            nodes_version: AtomicU64::new(routes::first_version()),
            changed: watch::Sender::new(0),
            news: watch::Sender::new(0),
            refused: Mutex::default(),
            doubted: Mutex::default(),
            doubt: Notify::new(),
            restarted: Mutex::default(),
            restart: Notify::new(),
            routes: RouteTable::new(),
            finder: Finder::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Which cluster this is.
    pub(crate) fn cluster_id(&self) -> &ClusterId {
        &self.inner.cluster_id
    }

    /// This node, as it introduces itself.
    pub(crate) fn local(&self) -> v1::Node {
        self.inner.local.read().clone()
    }

    /// Peer addresses that the configuration names.
    pub(super) fn seeds(&self) -> &[String] {
        &self.inner.seeds
    }

    /// Says which incarnation this node is, once its store is open.
    pub(super) fn set_incarnation(&self, incarnation: Incarnation) {
        self.inner.local.write().incarnation = Bytes::copy_from_slice(incarnation.as_bytes());
    }

    /// Says where this node's start stands.
    pub(super) fn set_stage(&self, stage: v1::Stage) {
        let stage = i32::from(stage);
        let before = std::mem::replace(&mut self.inner.local.write().stage, stage);
        if before != stage {
            self.inner.news.send_modify(|count| *count += 1);
        }
    }

    /// Says which routes this node's own replicas make, all of them.
    pub(super) fn set_own_routes(&self, routes: Vec<v1::Route>) {
        if self.inner.routes.set_own(routes) {
            self.inner.news.send_modify(|count| *count += 1);
        }
    }

    /// Says which route one replica of this node makes; `None` when it is gone.
    pub(super) fn set_own_route(&self, partition_id: PartitionId, route: Option<v1::Route>) {
        if self.inner.routes.set_one_own(partition_id, route) {
            self.inner.news.send_modify(|count| *count += 1);
        }
    }

    /// Ticks when there is something to tell the peers.
    pub(super) fn subscribe_local(&self) -> watch::Receiver<u64> {
        self.inner.news.subscribe()
    }

    /// Takes a node in, or refuses it. A refusal is logged when it is new.
    pub(super) fn meet(&self, node: v1::Node, source: Source) -> Result<NodeId, Stranger> {
        let met = self.try_meet(node, source);
        if let Err(stranger) = &met
            && source != Source::Hearsay
        {
            self.log_once(stranger);
        }
        met
    }

    fn try_meet(&self, node: v1::Node, source: Source) -> Result<NodeId, Stranger> {
        let node_id = NodeId::new(node.node_id)?;
        let incarnation = Incarnation::from_wire(&node.incarnation)?;
        if node_id == self.inner.node_id {
            let ours = self.inner.local.read().incarnation == node.incarnation;
            return if ours { Ok(node_id) } else { Err(Stranger::OurId(node_id)) };
        }
        let mut nodes = self.inner.nodes.write();
        if let Some(known) = nodes.get_mut(&node_id) {
            let same = known.incarnation == incarnation;
            if !same && source <= known.source {
                if source == Source::FirstHand && !known.connected {
                    self.inner.doubted.lock().insert(node_id);
                    self.inner.doubt.notify_one();
                }
                let known = known.incarnation;
                return Err(Stranger::OtherIncarnation { node_id, known, came: incarnation });
            }
            if same {
                let was = known.node.process.clone();
                let moved = known.refresh(&node, source);
                if moved {
                    known.version = self.next_version();
                }
                let is = known.node.process.clone();
                drop(nodes);
                if source == Source::FirstHand && !was.is_empty() && !is.is_empty() && was != is {
                    self.inner.restarted.lock().insert(node_id);
                    self.inner.restart.notify_one();
                }
                if moved {
                    self.tick();
                }
                return Ok(node_id);
            }
        }
        let version = self.next_version();
        let (forward, connected) = (None, false);
        nodes.insert(node_id, Known { node, incarnation, source, forward, connected, version });
        drop(nodes);
        self.tick();
        Ok(node_id)
    }

    /// For a change that the caller makes under the lock of the nodes.
    fn next_version(&self) -> u64 {
        self.inner.nodes_version.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits until a node's process was replaced by another one, as it turns out, and
    /// gives all such nodes.
    ///
    /// # Cancel safety
    /// Safe: what was not given is given next time.
    pub(super) async fn restarted(&self) -> BTreeSet<NodeId> {
        loop {
            let restarted = std::mem::take(&mut *self.inner.restarted.lock());
            if !restarted.is_empty() {
                return restarted;
            }
            self.inner.restart.notified().await;
        }
    }

    /// Waits until nodes came in another life than they are known in, and gives
    /// them with the life they are known in.
    ///
    /// # Cancel safety
    /// Safe: what was not given is given next time.
    pub(super) async fn doubted(&self) -> Vec<(NodeId, Incarnation)> {
        loop {
            let doubted = std::mem::take(&mut *self.inner.doubted.lock());
            if !doubted.is_empty() {
                let known = |id: NodeId| Some((id, self.incarnation(id)?));
                return doubted.into_iter().filter_map(known).collect();
            }
            self.inner.doubt.notified().await;
        }
    }

    /// Lets go of a life of a node that is not connected and that no group here
    /// counts on: whoever says that it is that node is believed from now on.
    pub(super) fn release(&self, node_id: NodeId, life: Incarnation) {
        let mut nodes = self.inner.nodes.write();
        let known = nodes.get_mut(&node_id);
        if let Some(known) = known.filter(|known| known.incarnation == life && !known.connected) {
            known.source = Source::Hearsay;
            tracing::info!(%node_id, incarnation = %life, "let go of an old life of a node");
        }
    }

    /// Takes in what a group here records of a member.
    pub(super) fn meet_member(&self, node_id: NodeId, member: &Member) {
        let node = v1::Node {
            node_id: node_id.get(),
            incarnation: Bytes::copy_from_slice(member.incarnation.as_bytes()),
            client_address: member.client_address.clone(),
            admin_address: member.admin_address.clone(),
            peer_address: member.peer_address.clone(),
            stage: v1::Stage::Unspecified.into(),
            ..v1::Node::default()
        };
        // A group that still lists an older life of this node is the check
        // stage's business; here it is logged.
        let _ = self.meet(node, Source::Membership);
    }

    /// Every other node that is known.
    pub(crate) fn nodes(&self) -> Vec<v1::Node> {
        self.inner.nodes.read().values().map(|known| known.node.clone()).collect()
    }

    /// The other nodes that were met or moved after a version, and the present one. A
    /// version from the future is one of a former life of this node: all are news then.
    pub(super) fn nodes_since(&self, known: u64) -> (Vec<v1::Node>, u64) {
        let nodes = self.inner.nodes.read();
        let version = self.inner.nodes_version.load(Ordering::Relaxed);
        let known = if known > version { 0 } else { known };
        let news = nodes.values().filter(|node| node.version > known);
        (news.map(|known| known.node.clone()).collect(), version)
    }

    /// Whether a group here has the node as a member, or had it.
    pub(super) fn shares_with(&self, node_id: NodeId) -> bool {
        let nodes = self.inner.nodes.read();
        nodes.get(&node_id).is_some_and(|known| known.source == Source::Membership)
    }

    /// A node as it is known; this node too.
    pub(crate) fn node(&self, node_id: NodeId) -> Option<v1::Node> {
        if node_id == self.inner.node_id {
            return Some(self.local());
        }
        self.inner.nodes.read().get(&node_id).map(|known| known.node.clone())
    }

    /// The ids of the other nodes.
    pub(crate) fn node_ids(&self) -> Vec<NodeId> {
        self.inner.nodes.read().keys().copied().collect()
    }

    /// Says whether the Raft stream to a node is open.
    pub(super) fn set_connected(&self, node_id: NodeId, connected: bool) {
        if let Some(known) = self.inner.nodes.write().get_mut(&node_id) {
            known.connected = connected;
        }
    }

    /// The nodes to which the Raft stream is open.
    pub(crate) fn connected(&self) -> BTreeSet<NodeId> {
        let nodes = self.inner.nodes.read();
        nodes.iter().filter(|(_, known)| known.connected).map(|(node_id, _)| *node_id).collect()
    }

    /// The incarnation a node is known in.
    pub(super) fn incarnation(&self, node_id: NodeId) -> Option<Incarnation> {
        self.inner.nodes.read().get(&node_id).map(|known| known.incarnation)
    }

    /// A node as a group would know it.
    pub(super) fn member(&self, node_id: NodeId) -> Option<Member> {
        let nodes = self.inner.nodes.read();
        let known = nodes.get(&node_id)?;
        Some(Member {
            incarnation: known.incarnation,
            peer_address: known.node.peer_address.clone(),
            client_address: known.node.client_address.clone(),
            admin_address: known.node.admin_address.clone(),
        })
    }

    /// Where peers dial a node.
    pub(super) fn peer_address(&self, node_id: NodeId) -> Option<String> {
        self.inner.nodes.read().get(&node_id).map(|known| known.node.peer_address.clone())
    }

    /// Where clients dial a node; this node too.
    pub(crate) fn client_address(&self, node_id: NodeId) -> Option<String> {
        self.node(node_id).map(|node| node.client_address).filter(|address| !address.is_empty())
    }

    /// A channel to a node's peer port for forwarded calls: never the one that
    /// carries Raft, so that clients cannot starve heartbeats. Connects lazily.
    pub(crate) fn forward_channel(&self, node_id: NodeId) -> Option<PeerChannel> {
        let mut nodes = self.inner.nodes.write();
        let known = nodes.get_mut(&node_id)?;
        if known.forward.is_none() {
            let endpoint = channel::endpoint(&known.node.peer_address).ok()?;
            let signature = self.signature(known.incarnation);
            known.forward = Some(PeerChannel::new(endpoint.connect_lazy(), signature));
        }
        known.forward.clone()
    }

    /// What calls to that life of a peer say.
    pub(super) fn signature(&self, meant: Incarnation) -> Signature {
        Signature::new(&self.inner.cluster_id, &self.inner.local.read(), meant)
    }

    /// Ticks when a node was met or moved.
    pub(super) fn subscribe_nodes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// The routes that peers told and this node's own.
    pub(super) fn route_table(&self) -> &RouteTable {
        &self.inner.routes
    }

    /// The route of a partition as peers told it, without asking.
    pub(crate) fn route(&self, partition_id: PartitionId) -> Option<v1::Route> {
        self.inner.routes.get(partition_id)
    }

    /// The route of a partition; asks the reachable peers where it is unknown,
    /// once for many callers, and remembers the answer.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub(crate) async fn find_route(&self, id: PartitionId) -> Result<v1::Route, NoRoute> {
        match self.route(id) {
            Some(route) => Ok(route),
            None => self.inner.finder.ask(self, id).await,
        }
    }

    /// Every route that peers told, in no order.
    pub(crate) fn routes(&self) -> Vec<v1::Route> {
        self.inner.routes.all()
    }

    /// Takes a route that a peer told, or that this node saw itself: kept when
    /// its epoch is not older.
    pub(crate) fn learn_route(&self, route: v1::Route) {
        self.inner.routes.learn(route);
    }

    /// Drops a route that led to a node without the partition, so that the
    /// next one who needs it asks again.
    pub(crate) fn forget_route(&self, partition_id: PartitionId) {
        self.inner.routes.forget(partition_id);
    }

    /// Ticks when a route was learnt or changed.
    pub(crate) fn subscribe_routes(&self) -> watch::Receiver<u64> {
        self.inner.routes.subscribe()
    }

    fn tick(&self) {
        self.inner.changed.send_modify(|count| *count += 1);
    }

    /// Logs a refusal that was not logged before.
    pub(super) fn log_once(&self, stranger: &Stranger) {
        let text = stranger.to_string();
        let mut refused = self.inner.refused.lock();
        if refused.len() < REFUSED_MAX && refused.insert(text) {
            tracing::warn!(error = %stranger, "refuse a node");
        }
    }
}

impl Known {
    /// Takes over what a source that is good enough tells of the same
    /// incarnation. Whether anything changed.
    fn refresh(&mut self, told: &v1::Node, source: Source) -> bool {
        let better_known = self.source >= Source::FirstHand && source == Source::Hearsay;
        let says_less = source == Source::Membership && self.source >= Source::FirstHand;
        // A membership vouches for the incarnation; the addresses of the day
        // the member joined do not replace what the node itself said since.
        let came_from = self.source;
        self.source = came_from.max(source);
        if better_known || says_less || self.node == *told {
            return false;
        }
        if self.node.peer_address != told.peer_address {
            self.forward = None;
        }
        self.node = told.clone();
        true
    }
}

#[cfg(test)]
pub(super) mod tests;
