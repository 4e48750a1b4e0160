//! Clients: each writes objects of its own in every partition and reads those of
//! all, on any node. A write is tried again under the same name until its outcome
//! is known, or the client gives up and never writes that object again.

use std::sync::Arc;
use std::time::Duration;

use partition_types::{Command, Crc32c, NodeId, Op, Outcome, PartitionId, RequestId};
use tokio::time::{Instant, timeout};

use super::chance::Chance;
use super::ledger::{Kind, Ledger, Object};
use super::wire::{Ask, CLIENT_PORT, Inbox, Parcel, Told};
use super::world::World;

/// How long one try may take.
const TRY: Duration = Duration::from_millis(700);
/// How long an operation is tried.
const GIVE_UP: Duration = Duration::from_secs(8);
/// One operation in so many begins a lull.
const LULL_EVERY: u64 = 90;

pub(crate) struct Client {
    world: Arc<World>,
    ledger: Ledger,
    chance: Chance,
    inbox: Inbox,
    /// Who led when it was last heard of, by partition.
    hints: std::collections::BTreeMap<PartitionId, NodeId>,
}

impl Client {
    pub(crate) async fn new(
        world: Arc<World>,
        ledger: Ledger,
        chance: Chance,
    ) -> std::io::Result<Self> {
        let inbox = Inbox::open(&world, None, CLIENT_PORT).await?;
        Ok(Self { world, ledger, chance, inbox, hints: std::collections::BTreeMap::new() })
    }

    /// Writes and reads until the simulator has enough.
    pub(crate) async fn run(mut self) {
        let mut own: Vec<Option<Arc<Object>>> = vec![None; 2 * self.world.partitions.len()];
        while !self.world.lock().clients_stop {
            let pause = self.chance.millis(0, 25);
            tokio::time::sleep(pause).await;
            if self.is_lull() {
                continue;
            }
            if self.chance.percent(55) {
                let nth = self.chance.below(own.len() as u64);
                let nth = usize::try_from(nth).expect("a small number");
                own[nth] = self.write(nth, own[nth].take()).await;
            } else {
                let all = self.ledger.all();
                if all.is_empty() {
                    continue;
                }
                let object = Arc::clone(self.chance.pick(&all));
                self.read(&object, None).await;
            }
        }
        self.world.lock().clients_done += 1;
    }

    /// Whether all clients rest for a while, so that groups fall asleep; now and
    /// then one of them begins that.
    fn is_lull(&mut self) -> bool {
        let mut world = self.world.lock();
        if world.now_ms < world.lull_until_ms {
            return true;
        }
        if self.chance.below(LULL_EVERY) == 0 {
            let lull_ms = 300 + self.chance.below(3000);
            world.lull_until_ms = world.now_ms + lull_ms;
            world.event(&format!("clients rest for {lull_ms} ms"));
        }
        false
    }

    /// Writes an object, or makes it.
    async fn write(&mut self, nth: usize, object: Option<Arc<Object>>) -> Option<Arc<Object>> {
        let partition = self.world.partitions[nth / 2];
        let Some(object) = object else {
            let kind = if nth.is_multiple_of(2) { Kind::Register } else { Kind::Journal };
            return self.create(kind, partition).await;
        };
        let len = 1 + usize::try_from(self.chance.below(60)).expect("a small number");
        let (offset, data) = object.next(len)?;
        let (extent_id, crc32c) = (object.extent, Crc32c::of(&data));
        let op = match object.kind {
            Kind::Register => Op::Write { extent_id, offset, data, crc32c },
            Kind::Journal => Op::Append { extent_id, data, crc32c },
        };
        match self.propose(partition, op).await {
            Some(Outcome::Written { offset: at, .. }) => {
                let judged = object.acknowledged(offset, at);
                self.judged(judged);
                Some(object)
            }
            Some(other) => {
                self.judged(Err(("lost", format!("{object}: a write brought: {other}"))));
                None
            }
            // Unknown: it is read on, and never written again.
            None => None,
        }
    }

    async fn create(&mut self, kind: Kind, partition: PartitionId) -> Option<Arc<Object>> {
        let seed = self.chance.draw();
        match self.propose(partition, Op::Create).await? {
            Outcome::Created { extent_id } => {
                Some(self.ledger.add(Object::new(kind, partition, extent_id, seed)))
            }
            other => {
                self.judged(Err(("wrong", format!("a create brought: {other}"))));
                None
            }
        }
    }

    /// Proposes a change until its outcome is known. `None`: it stayed unknown.
    async fn propose(&mut self, partition: PartitionId, op: Op) -> Option<Outcome> {
        let request_id = Some(RequestId::from_bytes(self.chance.bytes()));
        let ask = Ask::Write { partition, command: Command { request_id, at_ms: 0, op } };
        let give_up = Instant::now() + GIVE_UP;
        while Instant::now() < give_up {
            if let Some(Told::Done(outcome)) = self.ask(partition, None, ask.clone()).await {
                self.world.lock().counts.writes_acknowledged += 1;
                return Some(outcome);
            }
        }
        let mut world = self.world.lock();
        world.counts.writes_unknown += 1;
        world.event(&format!("a write to partition {partition} stays unknown"));
        None
    }

    /// Reads an object, on a certain node or on any, and judges what it sees.
    /// False: there was no answer.
    pub(crate) async fn read(&mut self, object: &Object, on: Option<NodeId>) -> bool {
        let give_up = Instant::now() + GIVE_UP;
        let any = *self.chance.pick(&self.world.nodes.clone());
        let mut on = on.unwrap_or(any);
        let fixed = on;
        while Instant::now() < give_up {
            let expected = object.expect();
            let ask = Ask::Read {
                partition: object.partition,
                extent: object.extent,
                offset: expected.offset,
            };
            if let Some(Told::Data(data)) = self.ask(object.partition, Some(on), ask).await {
                self.world.lock().counts.reads_judged += 1;
                let judged = object.judge(expected, &data);
                self.judged(judged);
                return true;
            }
            // Reads of the last round are of one node; others go around.
            if fixed == any {
                on = *self.chance.pick(&self.world.nodes.clone());
            }
        }
        false
    }

    /// Asks once; `None`: there was no answer, or a refusal.
    async fn ask(&mut self, partition: PartitionId, on: Option<NodeId>, ask: Ask) -> Option<Told> {
        let any = *self.chance.pick(&self.world.nodes.clone());
        let to = on.or_else(|| self.hints.get(&partition).copied()).unwrap_or(any);
        let id = self.world.lock().mail.number();
        let asked = async {
            self.inbox.port.send(to, CLIENT_PORT, Parcel::Ask { id, ask }).await;
            loop {
                match self.inbox.receive().await {
                    Some((Parcel::Tell { id: of, told }, _)) if of == id => break told,
                    // The answer to an earlier try.
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let told = timeout(TRY, asked).await.ok();
        match &told {
            Some(Told::Done(_)) => drop(self.hints.insert(partition, to)),
            Some(Told::Data(_)) => {}
            Some(Told::Elsewhere(Some(leader))) if on.is_none() && *leader != to => {
                self.hints.insert(partition, *leader);
            }
            _ => {
                self.hints.remove(&partition);
                let pause = self.chance.millis(10, 60);
                tokio::time::sleep(pause).await;
            }
        }
        told
    }

    fn judged(&self, judged: Result<(), (&'static str, String)>) {
        if let Err((invariant, what)) = judged {
            self.world.lock().violated(invariant, what);
        }
    }
}

/// The last round: every object is read on every node.
pub(crate) async fn read_all(mut client: Client) {
    let (objects, nodes) = (client.ledger.all(), client.world.nodes.clone());
    for object in objects {
        for node in &nodes {
            if !client.read(&object, Some(*node)).await {
                let what = format!("node {node} gives no {object}");
                client.world.lock().violated("alive", what);
            }
        }
    }
}
