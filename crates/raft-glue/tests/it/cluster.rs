//! Nodes of a test: a real store, a real gate, a host.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use partition_store::{DiskConfig, OpenError, Store, StoreConfig};
use partition_types::{
    Command, Crc32c, ExtentId, Member, NodeId, Op, Outcome, PartitionId, RequestId,
};
use raft_glue::{Activation, HostConfig, Partition, PartitionHost, ProposeError, Verify};
use startup_gate::state::Load;
use startup_gate::{
    Config, LoadTicket, NodeFault, NotConfirmed, Serving, Startup, UnitFault, UnitSpec,
};
use tempfile::TempDir;

use crate::net::Net;

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);
pub(crate) const ELECTION: (Duration, Duration) =
    (Duration::from_millis(600), Duration::from_millis(1200));
/// Election timeouts longer than anything that a test waits for in a live group, so that nobody
/// is elected only because the machine is busy; and short enough that a group whose first
/// election was lost, votes waiting for a tenth of a second, has a leader by its timer before
/// a test gives up.
pub(crate) const PATIENT: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(16));

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn partition(id: u64) -> PartitionId {
    PartitionId::new(id).unwrap()
}

/// A running node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) host: PartitionHost,
    pub(crate) store: Store,
    pub(crate) serving: Serving<PartitionId>,
}

/// Data directories that outlive their nodes, and a network.
pub(crate) struct Cluster {
    pub(crate) net: Arc<Net>,
    dir: TempDir,
    /// Of the nodes that are booted from now on.
    pub(crate) hand_back_rate: u32,
    /// Likewise.
    pub(crate) hibernate_after: Duration,
    pub(crate) crowd: usize,
    /// Likewise, which groups are in memory.
    pub(crate) activation: Activation,
    /// Likewise.
    pub(crate) unload_after: Duration,
    pub(crate) nodes: BTreeMap<u64, Node>,
    /// Slows the loads of these nodes, when they are opened from now on.
    pub(crate) load_delays: BTreeMap<u64, Duration>,
    /// Of nodes that are opened from now on.
    pub(crate) election: (Duration, Duration),
    /// Likewise.
    pub(crate) heartbeat: Duration,
}

impl Cluster {
    /// Starts nodes 1 to `count`, all at the same time.
    pub(crate) async fn start(count: u64) -> Self {
        Self::start_with(count, ELECTION).await
    }

    /// Likewise, with other election timeouts.
    pub(crate) async fn start_with(count: u64, election: (Duration, Duration)) -> Self {
        Self::start_sleepy(count, election, Duration::from_secs(5)).await
    }

    /// Likewise, with groups that sleep when they were idle for so long.
    pub(crate) async fn start_sleepy(
        count: u64,
        election: (Duration, Duration),
        hibernate_after: Duration,
    ) -> Self {
        let mut cluster = Self::unstarted(election, hibernate_after);
        cluster.boot(1..=count).await;
        cluster
    }

    /// A network and directories, and no nodes yet.
    pub(crate) fn unstarted(election: (Duration, Duration), hibernate_after: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            net: Arc::default(),
            dir,
            hand_back_rate: 100,
            hibernate_after,
            crowd: usize::MAX,
            activation: Activation::Eager,
            unload_after: Duration::from_secs(60),
            nodes: BTreeMap::new(),
            load_delays: BTreeMap::new(),
            election,
            heartbeat: HEARTBEAT,
        }
    }

    pub(crate) async fn boot(&mut self, ids: impl IntoIterator<Item = u64>) {
        let started = join_all(ids.into_iter().map(|id| self.boot_one(id))).await;
        self.nodes.extend(started.into_iter().map(|node| (node.id.get(), node)));
    }

    async fn boot_one(&self, id: u64) -> Node {
        let (store, host) = self.open(id).await;
        let startup = gate(&store);
        let load = host.clone();
        let check = host.clone();
        let units = store.manifest().into_iter().map(|entry| UnitSpec::new(entry.partition_id));
        let startup = startup
            .load(
                units,
                move |ticket| {
                    let host = load.clone();
                    async move { load_one(&host, ticket).await }
                },
                move |ticket, _loaded| {
                    let host = check.clone();
                    async move {
                        let checked = host.check(*ticket.unit(), Verify::Full).await;
                        checked.map_err(UnitFault::corrupt)
                    }
                },
            )
            .await
            .unwrap();
        let startup = startup.check(async { Ok::<(), NodeFault>(()) }).await.unwrap();
        let (unfence, confirm) = (host.clone(), host.clone());
        let gate = startup.handle();
        host.on_confirmed(move |id| {
            gate.confirm(&id);
        });
        let startup = startup
            .elect(
                move |right| unfence.unfence(right),
                move |ask| {
                    let host = confirm.clone();
                    async move {
                        let Err(not_yet) = host.confirm_leader(ask.unit).await else {
                            return Ok(());
                        };
                        if not_yet.deferred {
                            return Err(NotConfirmed::Deferred);
                        }
                        if let Some(removed) = not_yet.removed.clone()
                            && host.let_go(removed).await.unwrap()
                        {
                            return Err(NotConfirmed::Gone);
                        }
                        Err(NotConfirmed::pending(not_yet))
                    }
                },
            )
            .await
            .unwrap();
        let open = host.clone();
        let (serving, ()) = startup
            .listen(move |_right| async move {
                open.set_serving(true);
                Ok(())
            })
            .await
            .unwrap();
        Node { id: node(id), host, store, serving }
    }

    /// A store and a connected host, with nothing loaded.
    pub(crate) async fn open(&self, id: u64) -> (Store, PartitionHost) {
        let config = self.store_config(id);
        // The lock goes with the last handle, which a task that ends may hold.
        let store = eventually("the lock of the directory", || async {
            let config = config.clone();
            match tokio::task::spawn_blocking(move || Store::open(config)).await.unwrap() {
                Ok(store) => Some(store),
                Err(OpenError::Locked { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        })
        .await;
        let config = HostConfig {
            heartbeat_interval: self.heartbeat,
            election_timeout: self.election,
            hand_back_rate: self.hand_back_rate,
            hibernate_after: self.hibernate_after,
            crowd: self.crowd,
            activation: self.activation,
            unload_after: self.unload_after,
            ..HostConfig::new(node(id), member(id, &store))
        };
        let host = PartitionHost::new(config, store.clone(), self.net.wire(node(id)));
        self.net.connect(node(id), store.incarnation(), host.clone());
        (store, host)
    }

    fn store_config(&self, id: u64) -> StoreConfig {
        StoreConfig {
            cluster_id: "test".parse().unwrap(),
            node_id: node(id),
            disks: vec![DiskConfig { path: self.path(id), reserve_bytes: 0 }],
            accept_lost_disk: false,
            inject_load_delay: self.load_delays.get(&id).copied().into_iter().collect(),
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub(crate) async fn stop(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        self.close(id, node.store, node.host).await;
    }

    /// Ends what [`Cluster::open`] began.
    pub(crate) async fn close(&self, id: u64, store: Store, host: PartitionHost) {
        self.net.disconnect(node(id));
        host.shutdown().await;
        drop(host);
        tokio::task::spawn_blocking(move || store.close()).await.unwrap().unwrap();
    }

    /// Ends a node as a crash would: what was not durable is gone.
    pub(crate) async fn crash(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        self.net.disconnect(node.id);
        node.host.shutdown().await;
        drop(node);
    }

    /// Stops a node and empties its disk: its next life is another one.
    pub(crate) async fn wipe(&mut self, id: u64) {
        self.stop(id).await;
        std::fs::remove_dir_all(self.path(id)).unwrap();
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    pub(crate) fn replica(&self, id: u64, of: PartitionId) -> Partition {
        self.nodes[&id].host.get(of).unwrap()
    }

    pub(crate) fn members(&self, ids: &[u64]) -> Vec<(NodeId, Member)> {
        ids.iter().map(|id| (node(*id), member(*id, &self.nodes[id].store))).collect()
    }

    /// Makes a replica on a node that serves.
    pub(crate) async fn create_replica(&self, on: u64, id: PartitionId, members: &[u64]) -> bool {
        let node = self.node(on);
        let admission = node.serving.admission();
        admission.remove(&id);
        let admitted = admission.admit(id, 0).unwrap();
        let members = self.members(members);
        node.host.create(id, members, admitted.vote, admitted.campaign).await.unwrap()
    }

    /// Makes a partition, the first member leading it.
    pub(crate) async fn create(&self, id: u64, members: &[u64]) -> PartitionId {
        let id = partition(id);
        for on in members {
            assert!(self.create_replica(*on, id, members).await);
        }
        let first = &self.node(members[0]).host;
        assert!(first.initialize(id, self.members(members)).await.unwrap());
        self.await_leader(id, members).await;
        id
    }

    /// Makes a partition on nodes 1 to 3 that `leader` leads: where votes were late, another
    /// one may have been elected first.
    pub(crate) async fn create_led_by(&self, leader: u64, id: u64) -> PartitionId {
        let all = [1, 2, 3];
        let id = self.create(id, &all).await;
        eventually("the leadership to be where it is wanted", || async {
            let leads = self.await_leader(id, &all).await;
            if leads != leader {
                let _ = self.replica(leads, id).transfer_leader(node(leader)).await;
            }
            (leads == leader).then_some(id)
        })
        .await
    }

    /// Waits until all of `among` name the same leader, by live knowledge.
    pub(crate) async fn await_leader(&self, id: PartitionId, among: &[u64]) -> u64 {
        self.await_other_leader(id, among, 0).await
    }

    /// Likewise, and waits until that is not `not` any more.
    pub(crate) async fn await_other_leader(&self, id: PartitionId, among: &[u64], not: u64) -> u64 {
        eventually("a leader that all know", || async {
            let leader = self.replica(among[0], id).leader()?;
            let known = |on: &u64| self.replica(*on, id).leader() == Some(leader);
            (leader.get() != not && among.iter().all(known)).then_some(leader.get())
        })
        .await
    }
}

/// All that the stage load does for one partition.
pub(crate) async fn load_one(
    host: &PartitionHost,
    ticket: LoadTicket<PartitionId>,
) -> Result<(), UnitFault> {
    let opened = host.open(*ticket.unit()).await.map_err(UnitFault::corrupt)?;
    let id = opened.id();
    let right = ticket.log_readable()?;
    host.join(opened, right).await.map_err(UnitFault::corrupt)?;
    host.load(id, || ()).await.map(drop).map_err(UnitFault::corrupt)
}

pub(crate) fn gate(_store: &Store) -> Startup<PartitionId, Load> {
    let config = Config { confirm_interval: Duration::from_millis(20), ..Config::default() };
    Startup::new(config, Vec::new()).unwrap()
}

fn member(id: u64, store: &Store) -> Member {
    Member {
        incarnation: store.incarnation(),
        peer_address: format!("node-{id}:17330"),
        client_address: format!("node-{id}:17310"),
        admin_address: format!("node-{id}:17320"),
    }
}

pub(crate) fn put(data: &[u8]) -> Command {
    let data = Bytes::copy_from_slice(data);
    let crc32c = Crc32c::of(&data);
    Command { request_id: None, at_ms: 1, op: Op::Put { data, crc32c } }
}

pub(crate) fn put_once(data: &[u8]) -> Command {
    Command { request_id: Some(RequestId::random()), ..put(data) }
}

pub(crate) fn stored(outcome: Outcome) -> ExtentId {
    match outcome {
        Outcome::Stored { extent_id, .. } => extent_id,
        other => panic!("not stored: {other}"),
    }
}

/// Proposes wherever the leader is, until it is done.
pub(crate) async fn write(cluster: &Cluster, id: PartitionId, data: &[u8]) -> ExtentId {
    let command = put_once(data);
    eventually("a write that is acknowledged", || async {
        for node in cluster.nodes.values() {
            let Some(replica) = node.host.get(id) else { continue };
            match replica.propose(command.clone()).await {
                Ok(outcome) => return Some(stored(outcome)),
                Err(ProposeError::Quarantined { cause }) => panic!("quarantined: {cause}"),
                Err(_) => {}
            }
        }
        None
    })
    .await
}

/// Reads an extent whole, after a read barrier.
pub(crate) async fn read(replica: &Partition, extent: ExtentId) -> Vec<u8> {
    eventually("a read barrier", || async { replica.read_barrier().await.ok() }).await;
    let outcome = replica.state().unwrap().read(extent, 0, 1 << 20).await.unwrap();
    outcome.frames.iter().flat_map(|frame| frame.data.iter().copied()).collect()
}

/// Polls for up to 30 s; the machine may be busy.
pub(crate) async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
