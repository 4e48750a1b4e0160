//! The network: datagrams of turmoil with a number in each, and the mail that
//! the numbers stand for. What is in a message is handed over as it is; how it
//! looks on a real wire is a matter of rpc-server and its tests.
//!
//! Messages are late by turmoil's chance; here some are lost or sent twice, cut
//! off by a partition, or held back while a node is stalled.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use partition_types::{Command, ExtentId, Incarnation, NodeId, Outcome, PartitionId, Vote};
use raft_glue::{
    LeaderProbe, RaftReply, RaftRequest, SleepCall, SleepReply, SnapshotHeader, TransportError,
};
use startup_gate::Stage;
use turmoil::net::UdpSocket;

use super::chance::Chance;
use super::world::World;

/// Where nodes speak to each other.
pub(crate) const PEER_PORT: u16 = 17330;
/// Where clients speak to nodes.
pub(crate) const CLIENT_PORT: u16 = 17310;

/// A message.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    /// A node asks another one.
    Call { from: Caller, id: u64, meant: Incarnation, call: Call },
    /// The answer to a call.
    Answer { id: u64, answer: Answer },
    /// A node says how it is.
    Hello { from: NodeId, life: u32, stage: Stage },
    /// A client asks a node.
    Ask { id: u64, ask: Ask },
    /// The answer to a client.
    Tell { id: u64, told: Told },
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) node: NodeId,
    pub(crate) life: Incarnation,
}

/// What a node asks of another one.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Raft { partition: PartitionId, request: RaftRequest },
    Probe(Vec<PartitionId>),
    Sleep(SleepCall),
    Snapshot { header: SnapshotHeader, chunks: Vec<Bytes> },
}

/// What it says.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Raft(Result<RaftReply, TransportError>),
    Probe(Vec<LeaderProbe>),
    Sleep(Result<SleepReply, TransportError>),
    Snapshot(Result<Vote, TransportError>),
}

/// What a client wants.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Write { partition: PartitionId, command: Command },
    Read { partition: PartitionId, extent: ExtentId, offset: u64 },
}

/// What it is told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Done(Outcome),
    Data(Vec<u8>),
    /// Surely not done; somebody else leads, maybe that one.
    Elsewhere(Option<NodeId>),
    /// It may be done.
    Unknown,
}

/// Messages on their way.
pub(crate) struct Mail {
    parcels: BTreeMap<u64, Parcel>,
    next: u64,
    chance: Chance,
    /// So many of 1000 are lost, and as many are sent twice.
    loss: u64,
}

impl Mail {
    pub(crate) fn new(chance: Chance, loss: u64) -> Self {
        Self { parcels: BTreeMap::new(), next: 1, chance, loss }
    }

    /// A number that no message and no call has.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn post(&mut self, parcel: Parcel) -> u64 {
        let number = self.number();
        self.parcels.insert(number, parcel);
        number
    }

    pub(crate) fn heal(&mut self) {
        self.loss = 0;
    }
}

/// The sending end of a port. It does not hold the port: what a dead life leaves
/// behind must not keep its successor from it.
#[derive(Clone)]
pub(crate) struct Port {
    world: Arc<World>,
    socket: Weak<UdpSocket>,
    /// The node it belongs to; `None`: a client.
    node: Option<NodeId>,
}

/// The receiving end, which holds the port.
pub(crate) struct Inbox {
    pub(crate) port: Port,
    socket: Arc<UdpSocket>,
}

/// The name of a node's machine.
pub(crate) fn machine(node: NodeId) -> String {
    format!("node-{node}")
}

impl Port {
    /// Sends a message to a node's port.
    pub(crate) async fn send(&self, to: NodeId, port: u16, parcel: Parcel) {
        let to_address = (turmoil::lookup(machine(to)), port);
        self.send_to(Some(to), to_address.into(), parcel).await;
    }

    /// Sends a message to where one came from.
    pub(crate) async fn send_to(
        &self,
        to: Option<NodeId>,
        address: std::net::SocketAddr,
        parcel: Parcel,
    ) {
        let mut copies = Vec::new();
        {
            let mut world = self.world.lock();
            let now = world.now_ms;
            let line = (now, self.node.map_or(0, NodeId::get), address.port(), kind(&parcel));
            world.log.add(format!("{line:?}").as_bytes());
            world.counts.messages += 1;
            if let (Some(from), Some(to), Some(traffic)) = (self.node, to, world.traffic.as_mut()) {
                traffic.sent(now, from, to, &parcel);
            }
            if let (Some(from), Some(to)) = (self.node, to)
                && world.cut.contains(&(from, to))
            {
                return;
            }
            let loss = world.mail.loss;
            let luck = world.mail.chance.below(1000);
            if luck >= loss {
                copies.push(world.mail.post(parcel.clone()));
            }
            if luck >= 1000 - loss {
                copies.push(world.mail.post(parcel));
            }
        }
        while self.node.is_some_and(|node| self.world.is_stalled(node)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for number in copies {
            // A machine that is not there takes nothing; so does a lossy wire.
            let Some(socket) = self.socket.upgrade() else { return };
            let _ = socket.send_to(&number.to_le_bytes(), address).await;
        }
    }
}

impl Inbox {
    pub(crate) async fn open(
        world: &Arc<World>,
        node: Option<NodeId>,
        port: u16,
    ) -> std::io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(("0.0.0.0", port)).await?);
        let port = Port { world: Arc::clone(world), socket: Arc::downgrade(&socket), node };
        Ok(Self { port, socket })
    }

    /// The next message, and from where it came.
    pub(crate) async fn receive(&self) -> Option<(Parcel, std::net::SocketAddr)> {
        loop {
            let mut number = [0; 8];
            let (_, from) = self.socket.recv_from(&mut number).await.ok()?;
            while self.port.node.is_some_and(|node| self.port.world.is_stalled(node)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let parcel = self.port.world.lock().mail.parcels.remove(&u64::from_le_bytes(number));
            if let Some(parcel) = parcel {
                return Some((parcel, from));
            }
        }
    }
}

/// For the log: equal runs send equal kinds at equal times.
fn kind(parcel: &Parcel) -> (&'static str, u64) {
    match parcel {
        Parcel::Call { call: Call::Raft { partition, request }, .. } => {
            (request.name(), partition.get())
        }
        Parcel::Call { call: Call::Probe(ids), .. } => ("probe", ids.len() as u64),
        Parcel::Call { call: Call::Sleep(call), .. } => ("sleep", call.groups.len() as u64),
        Parcel::Call { call: Call::Snapshot { chunks, .. }, .. } => {
            ("snapshot", chunks.len() as u64)
        }
        Parcel::Answer { answer: Answer::Raft(answer), .. } => ("raft", u64::from(answer.is_ok())),
        Parcel::Answer { answer: Answer::Probe(answers), .. } => ("probed", answers.len() as u64),
        Parcel::Answer { answer: Answer::Sleep(answer), .. } => {
            ("sleeps", answer.as_ref().map_or(0, |reply| 1 + reply.agreed.len() as u64))
        }
        Parcel::Answer { answer: Answer::Snapshot(answer), .. } => {
            ("installed", u64::from(answer.is_ok()))
        }
        Parcel::Hello { life, .. } => ("hello", u64::from(*life)),
        Parcel::Ask { id, .. } => ("ask", *id),
        Parcel::Tell { id, .. } => ("tell", *id),
    }
}
