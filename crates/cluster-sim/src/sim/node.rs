//! One life of a node: the product's store, host and gate, put together as the
//! program `datanode` does it, from load to listen and down again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use partition_store::{DiskConfig, Store, StoreConfig};
use partition_types::{Member, NodeId, PartitionId};
use raft_glue::{Activation, HostConfig, LoadFault, Partition, PartitionHost, Verify, Want};
use startup_gate::state::Load;
use startup_gate::{
    Change, Config, DownDeadlines, Handle, NotConfirmed, Observer, Priority, Serving, Startup,
    Transition, UnitFault, UnitSpec, UnitState,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use turmoil::{Builder, Sim};

use super::link::{Inbound, Link};
use super::pace::Pace;
use super::wire::{CLIENT_PORT, Caller, Inbox, PEER_PORT, Parcel, machine};
use super::world::{Live, Trap, World};
use super::{owner, peers, serve};

/// What a life is made of, once its store is open.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) world: Arc<World>,
    pub(crate) id: NodeId,
    pub(crate) life: u32,
    pub(crate) host: PartitionHost,
    pub(crate) store: Store,
    pub(crate) gate: Handle<PartitionId>,
}

/// A network in which a message takes from a millisecond to `latest`, and a machine
/// for each node of the world, which starts when the simulation does.
pub(crate) fn machines<'a>(world: &Arc<World>, seed: u64, latest: Duration) -> Sim<'a> {
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(latest)
        .udp_capacity(1 << 20)
        .enable_random_order()
        .build();
    for id in world.nodes.clone() {
        let world = Arc::clone(world);
        sim.host(machine(id), move || {
            let world = Arc::clone(&world);
            async move {
                live(world, id).await;
                Ok(())
            }
        });
    }
    sim
}

/// A node from its power button to its end. Never fails: what goes wrong is
/// written down in the world.
async fn live(world: Arc<World>, id: NodeId) {
    let life = {
        let mut inner = world.lock();
        let life = inner.lives.entry(id).or_default();
        *life += 1;
        let life = *life;
        inner.stopped.remove(&id);
        inner.event(&format!("node {id} starts, life {life}"));
        life
    };
    if let Err(what) = run(&world, id, life).await {
        world.lock().violated("start", format!("node {id} life {life}: {what}"));
    }
    let mut inner = world.lock();
    inner.live.remove(&id);
    inner.ended.insert((id, life));
    inner.stopped.insert(id);
    inner.event(&format!("node {id} ended in order, life {life}"));
}

async fn run(world: &Arc<World>, id: NodeId, life: u32) -> Result<(), String> {
    let host_of_gate = Arc::new(OnceLock::<PartitionHost>::new());
    let observers = observers(world, id, Arc::clone(&host_of_gate));
    let startup = Startup::new(gate_config(&world.pace), observers).map_err(|e| e.to_string())?;
    let gate = startup.handle();
    let delay = load_delay(world, id, life);
    let store = Store::open_in_memory(store_config(id, delay), &[world.disks[&id].clone()])
        .map_err(|error| error.to_string())?;
    let local = local(id, &store);
    world.lock().members.insert(id, local.clone());
    found(world, id, &store).await?;

    let inbox = Inbox::open(world, Some(id), PEER_PORT).await.map_err(|e| e.to_string())?;
    let port = inbox.port.clone();
    let caller = Caller { node: id, life: store.incarnation() };
    let link = Link::new(world, caller, port.clone());
    let mut config = HostConfig {
        heartbeat_interval: world.pace.heartbeat,
        election_timeout: world.pace.election,
        hibernate_after: world.hibernate_after,
        crowd: world.crowd,
        ..HostConfig::new(id, local)
    };
    if let Some(unload_after) = world.unload_after {
        config = HostConfig { activation: Activation::OnDemand, unload_after, ..config };
    }
    let host = PartitionHost::new(config, store.clone(), Arc::new(link.clone()));
    let _ = host_of_gate.set(host.clone());
    hear_of_quarantines(&host, gate.clone());
    hear_of_removals(world, id, &host);
    let confirmed = gate.clone();
    host.on_confirmed(move |id| {
        confirmed.confirm(&id);
    });
    let (orders, ordered) = mpsc::unbounded_channel();
    let incarnation = store.incarnation();
    let live = Live { life, host: host.clone(), gate: gate.clone(), orders, open_since_ms: None };
    world.lock().live.insert(id, live);
    let node = Node { world: Arc::clone(world), id, life, host: host.clone(), store, gate };
    let inbound = Inbound { world: Arc::clone(world), node: id, host, incarnation };
    let heard = peers::Heard::default();
    let peer_port = tokio::spawn(listen_to_peers(inbox, inbound, link, heard.clone()));
    let greeting = tokio::spawn(peers::greet(node.clone(), port, heard));
    let reporting = tokio::spawn(serve::report_sums(node.clone()));

    let (serving, client_port) = climb(startup, &node).await?;
    let owner = owner::Owner { node: node.clone(), orders: ordered };
    owner.serve(serving, client_port, peer_port).await?;
    greeting.abort();
    reporting.abort();
    Ok(())
}

/// Puts the partitions into the manifest of a node that is new, when all nodes
/// have an identity: their groups are made of those.
async fn found(world: &Arc<World>, node_id: NodeId, store: &Store) -> Result<(), String> {
    if !store.manifest().is_empty() {
        return Ok(());
    }
    for id in &world.partitions {
        if !world.placed(*id).contains(&node_id) {
            continue;
        }
        let founders = loop {
            match world.founders(*id) {
                Some(founders) => break founders,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let made = *id;
        let made = store.blocking(move |store| store.create(made, founders)).await;
        made.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn store_config(node_id: NodeId, load_delay: Duration) -> StoreConfig {
    StoreConfig {
        cluster_id: "sim".parse().expect("a name"),
        node_id,
        disks: vec![DiskConfig { path: format!("memory-{node_id}").into(), reserve_bytes: 0 }],
        accept_lost_disk: false,
        inject_load_delay: vec![load_delay],
    }
}

/// Some starts load slowly, so that much happens meanwhile.
fn load_delay(world: &World, id: NodeId, life: u32) -> Duration {
    let slow = world.pace.slow_loads && (u64::from(life) + id.get()).is_multiple_of(3);
    Duration::from_millis(if slow { 200 + world.skew_ms[&id] % 400 } else { 3 })
}

fn local(id: NodeId, store: &Store) -> Member {
    Member {
        incarnation: store.incarnation(),
        peer_address: format!("node-{id}:{PEER_PORT}"),
        client_address: format!("node-{id}:{CLIENT_PORT}"),
        admin_address: String::new(),
    }
}

fn gate_config(pace: &Pace) -> Config {
    let bound = Some(Duration::from_secs(4));
    Config {
        elect_timeout: pace.elect_timeout,
        confirm_interval: pace.confirm_interval,
        stall_timeout: Duration::from_secs(20),
        down: DownDeadlines {
            notice: None,
            hand_over: bound,
            close: bound,
            flush: None,
            unload: None,
        },
        ..Config::default()
    }
}

/// The world is told of every transition; the host, of what was quarantined.
fn observers(
    world: &Arc<World>,
    id: NodeId,
    host: Arc<OnceLock<PartitionHost>>,
) -> Vec<Arc<dyn Observer<PartitionId>>> {
    let world = Arc::clone(world);
    let see = move |change: &Change<PartitionId>| match &change.transition {
        Transition::Stage { to, .. } => {
            let mut world = world.lock();
            world.event(&format!("node {id} comes to {to}"));
            world.trip(id, Trap::Reached(*to));
        }
        Transition::Unit { unit, to: Some(UnitState::Quarantined { fault }), .. } => {
            // Disks here lose what was not synced and damage nothing.
            let what = format!("node {id} quarantines partition {unit}: {fault}");
            world.lock().violated("sound", what);
            if let Some(host) = host.get() {
                host.quarantine(*unit, fault.to_string());
            }
        }
        Transition::Unit { unit, to: Some(UnitState::Waived { reason }), .. } => {
            world.event(&format!("node {id} waives partition {unit}: {reason}"));
        }
        _ => {}
    };
    vec![Arc::new(see)]
}

fn hear_of_quarantines(host: &PartitionHost, gate: Handle<PartitionId>) {
    host.on_quarantine(move |id, cause| {
        if gate.state_of(&id) != Some(UnitState::Checking) {
            gate.quarantine(&id, UnitFault::failed(cause));
        }
    });
}

/// No replica is removed from its group here, so none may come to believe it.
fn hear_of_removals(world: &Arc<World>, id: NodeId, host: &PartitionHost) {
    let world = Arc::clone(world);
    host.on_removed(move |partition| {
        let what = format!("node {id} let partition {partition} go");
        world.lock().violated("lost", what);
    });
}

async fn listen_to_peers(inbox: Inbox, inbound: Inbound, link: Link, heard: peers::Heard) {
    while let Some((parcel, address)) = inbox.receive().await {
        match parcel {
            Parcel::Answer { id, answer } => link.answered(id, answer),
            Parcel::Hello { from, life, stage } => heard.hear(&inbound.host, from, life, stage),
            Parcel::Call { from, id, meant, call } => {
                let (inbound, port) = (inbound.clone(), inbox.port.clone());
                tokio::spawn(async move {
                    let answer = inbound.answer(from, meant, call).await;
                    port.send_to(Some(from.node), address, Parcel::Answer { id, answer }).await;
                });
            }
            Parcel::Ask { .. } | Parcel::Tell { .. } => {}
        }
    }
}

/// The four stages, as `datanode serve` climbs them.
async fn climb(
    startup: Startup<PartitionId, Load>,
    node: &Node,
) -> Result<(Serving<PartitionId>, JoinHandle<()>), String> {
    let host = || node.host.clone();
    let (joiner, loader, checker) = (node.clone(), host(), host());
    let gate = startup.handle();
    node.host.on_wanted(move |id, want| {
        let priority = match want {
            Want::Quorum => Priority::QUORUM,
            Want::Awaited => Priority::AWAITED,
        };
        gate.raise(&id, priority);
    });
    let units = node.store.manifest().into_iter();
    let loaded = startup.load_joined(
        units.map(|entry| UnitSpec::new(entry.partition_id)),
        move |ticket| {
            let node = joiner.clone();
            async move {
                let id = *ticket.unit();
                let opened = node.host.open(id).await.map_err(load_fault)?;
                node.check_promise(id);
                let right = ticket.log_readable()?;
                node.host.join(opened, right).await.map_err(load_fault)
            }
        },
        move |ticket, ()| {
            let host = loader.clone();
            async move {
                let progress = ticket.progress();
                host.load(*ticket.unit(), || progress.tick()).await.map_err(load_fault)
            }
        },
        move |ticket, _loaded| {
            let host = checker.clone();
            async move {
                let checked = host.check(*ticket.unit(), Verify::Full).await;
                checked.map_err(|fault| UnitFault::corrupt(fault.what))
            }
        },
    );
    let checked = loaded.await.map_err(|e| e.to_string())?.check(async { Ok(()) });
    let (unfencer, confirmer) = (host(), node.clone());
    let elected = checked.await.map_err(|e| e.to_string())?.elect(
        move |right| unfencer.unfence(right),
        move |ask| {
            let node = confirmer.clone();
            async move { confirm(&node, ask.unit).await }
        },
    );
    let opener = node.clone();
    let listening = elected.await.map_err(|e| e.to_string())?.listen(move |_right| async move {
        let port = Inbox::open(&opener.world, Some(opener.id), CLIENT_PORT).await?;
        let port = tokio::spawn(serve::clients(opener.clone(), port));
        opener.set_open(true);
        opener.host.set_serving(true);
        Ok(port)
    });
    listening.await.map_err(|e| e.to_string())
}

/// Asks for a verified leader; the preferred founder gives its group its members
/// before, as the first node of a new cluster is told to.
async fn confirm(node: &Node, id: PartitionId) -> Result<(), NotConfirmed> {
    let partition = node.host.get(id);
    let is_new = |partition: &Partition| partition.status().membership.voter_sets.is_empty();
    let founders = partition.filter(is_new).map(|partition| partition.created_with());
    let founders = founders.unwrap_or_default();
    if founders.first().is_some_and(|(first, _)| *first == node.id) {
        let made = node.host.initialize(id, founders).await;
        made.map_err(|error| NotConfirmed::pending(error.to_string()))?;
    }
    let Err(not_yet) = node.host.confirm_leader(id).await else { return Ok(()) };
    if not_yet.deferred {
        return Err(NotConfirmed::Deferred);
    }
    if not_yet.removed.is_some() {
        let what = format!("node {} takes itself for removed from partition {id}", node.id);
        node.world.lock().violated("lost", what);
    }
    Err(NotConfirmed::pending(not_yet.reason))
}

fn load_fault(fault: LoadFault) -> UnitFault {
    match fault {
        LoadFault::Missing(_) => UnitFault::missing(fault.to_string()),
        LoadFault::Corrupt { what, .. } => UnitFault::corrupt(what),
        LoadFault::Failed { what, .. } => UnitFault::failed(what),
    }
}

impl Node {
    /// Whether a replica that has just come up remembers what it promised.
    fn check_promise(&self, id: PartitionId) {
        // The host has it open: this is the same handle.
        let Ok(partition) = self.store.load(id) else { return };
        let vote = partition.log().vote();
        let mut world = self.world.lock();
        if let Err(what) = world.promises.check(self.id, id, vote) {
            world.violated("promise", what);
        }
    }

    /// Notes that the client port is open, or closed.
    pub(crate) fn set_open(&self, open: bool) {
        let mut world = self.world.lock();
        let now_ms = world.now_ms;
        if let Some(live) = world.live.get_mut(&self.id) {
            live.open_since_ms = open.then_some(now_ms);
        }
    }
}
