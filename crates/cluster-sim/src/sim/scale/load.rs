//! Clients that write to partitions by chance, so many times a second, whatever
//! the answers take. Each write is tried until it is done.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use partition_types::{Command, Crc32c, NodeId, Op, PartitionId, RequestId};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::super::chance::Chance;
use super::super::wire::{Ask, CLIENT_PORT, Inbox, Parcel, Port, Told};
use super::super::world::World;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// A write that is not done by then has failed.
const GIVE_UP: Duration = Duration::from_secs(30);
/// In each write.
const LEN_BYTES: usize = 64;

/// What the clients are to do, and what came of it.
#[derive(Clone, Default)]
pub(super) struct Dial(Arc<Mutex<Dialled>>);

#[derive(Default)]
struct Dialled {
    per_second: u64,
    /// Partitions to write to at once.
    at_once: Vec<PartitionId>,
    tally: Tally,
}

/// What came of writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) begun: u64,
    pub(super) failed: u64,
    /// Of those that are done, in simulated milliseconds.
    pub(super) took_ms: Vec<u64>,
}

impl Tally {
    /// How long at most so many of 1000 took, in milliseconds.
    pub(super) fn permille_ms(&self, permille: usize) -> u64 {
        let mut took_ms = self.took_ms.clone();
        took_ms.sort_unstable();
        let at = (took_ms.len() * permille).div_ceil(1000);
        took_ms.get(at.saturating_sub(1)).copied().unwrap_or(0)
    }

    pub(super) fn is_level(&self) -> bool {
        self.failed + self.took_ms.len() as u64 >= self.begun
    }
}

impl Dial {
    /// From now on, this many writes a second.
    pub(super) fn set(&self, per_second: u64) {
        self.0.lock().per_second = per_second;
    }

    /// One write to each of these, now.
    pub(super) fn write_to(&self, partitions: Vec<PartitionId>) {
        self.0.lock().at_once = partitions;
    }

    pub(super) fn tally(&self) -> Tally {
        self.0.lock().tally.clone()
    }

    /// Takes the counts and begins anew.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut self.0.lock().tally)
    }
}

struct Clients {
    world: Arc<World>,
    dial: Dial,
    port: Port,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Told>>>,
    /// Who led when it was last heard of.
    leaders: Mutex<BTreeMap<PartitionId, NodeId>>,
}

/// Writes as the dial says, for as long as the simulation runs.
pub(super) async fn run(world: Arc<World>, dial: Dial, mut chance: Chance) -> std::io::Result<()> {
    let inbox = Inbox::open(&world, None, CLIENT_PORT).await?;
    let clients = Arc::new(Clients {
        world,
        dial,
        port: inbox.port.clone(),
        waiting: Mutex::default(),
        leaders: Mutex::default(),
    });
    tokio::spawn(listen(inbox, Arc::clone(&clients)));
    let mut owed_thousandths = 0;
    loop {
        sleep(Duration::from_millis(1)).await;
        let partitions = {
            let mut dial = clients.dial.0.lock();
            owed_thousandths += dial.per_second;
            let mut partitions = std::mem::take(&mut dial.at_once);
            while owed_thousandths >= 1000 {
                owed_thousandths -= 1000;
                partitions.push(*chance.pick(&clients.world.partitions));
            }
            dial.tally.begun += partitions.len() as u64;
            partitions
        };
        for partition in partitions {
            let request_id = RequestId::from_bytes(chance.bytes());
            tokio::spawn(Arc::clone(&clients).write(partition, request_id));
        }
    }
}

async fn listen(inbox: Inbox, clients: Arc<Clients>) {
    while let Some((parcel, _)) = inbox.receive().await {
        let Parcel::Tell { id, told } = parcel else { continue };
        let waiting = clients.waiting.lock().remove(&id);
        // Who asked may have given up.
        let _ = waiting.map(|waiting| waiting.send(told));
    }
}

impl Clients {
    async fn write(self: Arc<Self>, partition: PartitionId, request_id: RequestId) {
        let began = Instant::now();
        let data = Bytes::from_static(&[7; LEN_BYTES]);
        let op = Op::Put { crc32c: Crc32c::of(&data), data };
        let command = Command { request_id: Some(request_id), at_ms: 0, op };
        let placed = self.world.placed(partition);
        let mut next = 0;
        while began.elapsed() < GIVE_UP {
            let known = self.leaders.lock().get(&partition).copied();
            let to = known.unwrap_or(placed[next % placed.len()]);
            let ask = Ask::Write { partition, command: command.clone() };
            match self.ask(to, ask).await {
                Some(Told::Done(_)) => {
                    self.leaders.lock().insert(partition, to);
                    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    self.dial.0.lock().tally.took_ms.push(took_ms);
                    return;
                }
                Some(Told::Elsewhere(Some(leader))) if leader != to => {
                    self.leaders.lock().insert(partition, leader);
                }
                _ => {
                    self.leaders.lock().remove(&partition);
                    next += 1;
                    sleep(PAUSE).await;
                }
            }
        }
        self.dial.0.lock().tally.failed += 1;
    }

    /// Asks once. `None`: there was no answer.
    async fn ask(&self, to: NodeId, ask: Ask) -> Option<Told> {
        let id = self.world.lock().mail.number();
        let (send, receive) = oneshot::channel();
        self.waiting.lock().insert(id, send);
        self.port.send(to, CLIENT_PORT, Parcel::Ask { id, ask }).await;
        let told = timeout(TRY, receive).await;
        self.waiting.lock().remove(&id);
        told.ok()?.ok()
    }
}
