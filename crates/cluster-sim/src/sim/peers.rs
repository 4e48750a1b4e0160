//! How nodes know of each other: each says how it is a few times a second, and
//! notices when a peer's process is gone, as a connection that breaks tells it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use partition_types::NodeId;
use raft_glue::{PartitionHost, PeerState};
use startup_gate::Stage;
use tokio::time::Instant;

use super::node::Node;
use super::wire::{PEER_PORT, Parcel, Port};

/// What was heard of the peers.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<BTreeMap<NodeId, Peer>>>);

struct Peer {
    life: u32,
    stage: Stage,
    at: Instant,
    is_gone: bool,
}

impl Heard {
    /// A peer said how it is.
    pub(crate) fn hear(&self, host: &PartitionHost, from: NodeId, life: u32, stage: Stage) {
        let at = Instant::now();
        let before = self.0.lock().get(&from).map(|peer| (peer.life, peer.stage, peer.is_gone));
        if before.is_some_and(|(known, _, gone)| life < known || (life == known && gone)) {
            // A late word of a dead life.
            return;
        }
        self.0.lock().insert(from, Peer { life, stage, at, is_gone: false });
        let has_climbed = before.is_none_or(|(known, was, _)| known != life || was != stage);
        if has_climbed && stage <= Stage::Serving {
            host.peer_is_back(from, stage > Stage::Load);
        }
    }

    /// A peer that says nothing for so long is away.
    fn states(&self, silent: Duration) -> Vec<(NodeId, PeerState)> {
        let state = |peer: &Peer| match peer.is_gone || peer.at.elapsed() > silent {
            true => PeerState::Away,
            false => match peer.stage {
                Stage::Serving => PeerState::Serving,
                Stage::Draining => PeerState::Draining,
                _ => PeerState::Starting,
            },
        };
        self.0.lock().iter().map(|(id, peer)| (*id, state(peer))).collect()
    }

    /// Peers whose process is gone, told once.
    fn gone(&self, node: &Node) -> Vec<NodeId> {
        let world = node.world.lock();
        let mut peers = self.0.lock();
        let mut gone = Vec::new();
        for (id, peer) in peers.iter_mut() {
            let is_cut = world.cut.contains(&(*id, node.id)) || world.stalled.contains(&node.id);
            if !peer.is_gone && !is_cut && world.ended.contains(&(*id, peer.life)) {
                peer.is_gone = true;
                gone.push(*id);
            }
        }
        gone
    }
}

/// Greets the peers and follows how they are, until it is stopped.
pub(crate) async fn greet(node: Node, port: Port, heard: Heard) {
    let peers: Vec<NodeId> = node.world.nodes.iter().copied().filter(|id| *id != node.id).collect();
    let pace = node.world.pace;
    let mut greet_at = Instant::now();
    let mut last = None;
    loop {
        for id in heard.gone(&node) {
            node.host.peer_is_gone(id);
        }
        node.host.set_peers(heard.states(pace.silent));
        let stage = node.gate.stage();
        if Instant::now() >= greet_at || last != Some(stage) {
            greet_at = Instant::now() + pace.greet_every;
            last = Some(stage);
            for peer in &peers {
                let hello = Parcel::Hello { from: node.id, life: node.life, stage };
                port.send(*peer, PEER_PORT, hello).await;
            }
        }
        tokio::time::sleep(pace.look_every).await;
    }
}
