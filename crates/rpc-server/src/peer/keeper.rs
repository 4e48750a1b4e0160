//! Keeps the book about this node itself: the stage of its start, the routes of
//! its replicas, the members of its groups; tells the groups which peers come
//! and go and how all of them are, and the book which old lives of nodes no
//! group counts on.

use std::collections::BTreeMap;
use std::time::Duration;

use datanode_proto::v1;
use partition_types::{Incarnation, NodeId, PartitionId};
use raft_glue::{Partition, PartitionHost, PeerState};
use startup_gate::Stage;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::link::Sighting;
use crate::context::NodeContext;

/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(20);
/// Groups that load tell nobody: while the node starts, all are looked at this
/// often, and at each stage; or less often, so that it takes no more than this part of the
/// time.
const REVIEW_STARTING: Duration = Duration::from_secs(1);
const REVIEW_SHARE: u32 = 20;
/// And this often later, should a change ever go untold.
const REVIEW: Duration = Duration::from_secs(30);

/// A connection that breaks is no change of the book: peers are looked at this often.
const REVIEW_PEERS: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(crate) async fn keep(context: NodeContext, seen: mpsc::UnboundedReceiver<Sighting>) {
    tokio::join!(
        keep_stage(&context),
        keep_routes(&context),
        keep_peers(&context),
        tell_groups(&context, seen),
        tell_of_restarts(&context),
        release_old_lives(&context),
    );
}

async fn keep_stage(context: &NodeContext) {
    let mut changes = context.gate().subscribe();
    loop {
        context.peers().set_stage(stage_to_wire(context.gate().stage()));
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

async fn keep_routes(context: &NodeContext) {
    let Some(host) = context.host() else { return };
    let mut changes = host.subscribe_routes();
    let mut stages = context.gate().subscribe();
    loop {
        let (stage, began) = (context.gate().stage(), Instant::now());
        look_at_all(context, host);
        let wait = match stage.is_starting() {
            true => REVIEW_STARTING.max(began.elapsed() * REVIEW_SHARE),
            false => REVIEW,
        };
        // Ends with a look at all: time is up, changes were missed, or the node has
        // come to another stage.
        tokio::select! {
            _ = timeout(wait, follow(context, host, &mut changes)) => {}
            () = until_not(context, stage, &mut stages) => {}
        }
    }
}

/// Until the node is in another stage.
async fn until_not(context: &NodeContext, stage: Stage, changes: &mut watch::Receiver<u64>) {
    while context.gate().stage() == stage {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Takes changes one by one, until some were missed.
async fn follow(
    context: &NodeContext,
    host: &PartitionHost,
    changes: &mut broadcast::Receiver<PartitionId>,
) {
    loop {
        match changes.recv().await {
            Ok(id) => match host.get(id) {
                Some(partition) => {
                    meet_members(context, &partition);
                    let route = crate::route::local_route(context, &partition);
                    context.peers().set_own_route(id, route);
                }
                None => context.peers().set_own_route(id, None),
            },
            Err(RecvError::Lagged(_)) => return,
            // The host is gone, and the node with it.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn look_at_all(context: &NodeContext, host: &PartitionHost) {
    for partition in host.list() {
        meet_members(context, &partition);
    }
    context.peers().set_own_routes(crate::route::local_routes(context));
}

fn meet_members(context: &NodeContext, partition: &Partition) {
    for (node_id, member) in partition.status().membership.members {
        if node_id != context.node_id() {
            context.peers().meet_member(node_id, &member);
        }
    }
}

/// Tells who serves, who drains and who is away; and who came a step further on its way
/// up, which may take now what it could not before.
async fn keep_peers(context: &NodeContext) {
    let Some(host) = context.host() else { return };
    let mut last: BTreeMap<NodeId, v1::Stage> = BTreeMap::new();
    let mut nodes = context.peers().subscribe_nodes();
    let mut stages = context.gate().subscribe();
    loop {
        let connected = context.peers().connected();
        let known = context.peers().nodes().into_iter();
        let known = known.filter_map(|node| Some((NodeId::new(node.node_id).ok()?, node.stage())));
        let (here, away): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.partition(|(node_id, _)| connected.contains(node_id));
        let away = away.into_keys().map(|node_id| (node_id, PeerState::Away));
        let states = here.iter().map(|(node_id, stage)| (*node_id, state_at(*stage)));
        let known: Vec<(NodeId, PeerState)> = states.chain(away).collect();
        let promise = context.stop_promise();
        promise.hear(context.node_id(), context.gate().is_open());
        for (node_id, state) in &known {
            promise.hear(*node_id, *state == PeerState::Serving);
        }
        host.set_peers(known);
        for (node_id, stage) in &here {
            if last.get(node_id) != Some(stage) && *stage <= v1::Stage::Serving {
                host.peer_is_back(*node_id, is_loaded_at(*stage));
            }
        }
        last = here;
        tokio::select! {
            () = tokio::time::sleep(REVIEW_PEERS) => {}
            Ok(()) = nodes.changed() => {}
            Ok(()) = stages.changed() => tokio::time::sleep(SETTLE).await,
        }
    }
}

async fn tell_groups(context: &NodeContext, mut seen: mpsc::UnboundedReceiver<Sighting>) {
    while let Some(sighting) = seen.recv().await {
        let Some(host) = context.host() else { continue };
        match sighting {
            Sighting::Back(node_id) => {
                let node = context.peers().node(node_id);
                host.peer_is_back(node_id, node.is_some_and(|node| is_loaded_at(node.stage())));
            }
            Sighting::Gone(node_id) => host.peer_is_gone(node_id),
        }
    }
}

/// A process that was killed and started again at once may never have been seen
/// away: what it led needs another leader all the same.
async fn tell_of_restarts(context: &NodeContext) {
    loop {
        let restarted = context.peers().restarted().await;
        let Some(host) = context.host() else { continue };
        restarted.into_iter().for_each(|node_id| host.peer_is_gone(node_id));
    }
}

/// A node whose disks were replaced comes in another life. While the node
/// starts, not all of its groups can be asked.
async fn release_old_lives(context: &NodeContext) {
    loop {
        let doubted = context.peers().doubted().await;
        let Some(host) = context.host().filter(|_| !context.gate().stage().is_starting()) else {
            continue;
        };
        for (node_id, life) in doubted {
            if !is_counted_on(host, node_id, life) {
                context.peers().release(node_id, life);
            }
        }
    }
}

/// Whether a group here has that life of a node as a member.
fn is_counted_on(host: &PartitionHost, node_id: NodeId, life: Incarnation) -> bool {
    host.list().iter().any(|partition| {
        let members = partition.status().membership.members;
        members.get(&node_id).is_some_and(|member| member.incarnation == life)
    })
}

/// Whether the groups of a node take messages at this stage.
fn is_loaded_at(stage: v1::Stage) -> bool {
    !matches!(stage, v1::Stage::Unspecified | v1::Stage::Load | v1::Stage::Stopped)
}

/// How a peer is that is connected.
fn state_at(stage: v1::Stage) -> PeerState {
    match stage {
        v1::Stage::Serving => PeerState::Serving,
        v1::Stage::Draining => PeerState::Draining,
        _ => PeerState::Starting,
    }
}

/// The stage in the words of the wire.
pub(crate) fn stage_to_wire(stage: Stage) -> v1::Stage {
    match stage {
        Stage::Load => v1::Stage::Load,
        Stage::Check => v1::Stage::Check,
        Stage::Elect => v1::Stage::Elect,
        Stage::Listen => v1::Stage::Listen,
        Stage::Serving => v1::Stage::Serving,
        Stage::Draining => v1::Stage::Draining,
        Stage::Stopped => v1::Stage::Stopped,
    }
}
