//! Our own client at work: workers with one request at a time each. Requests are
//! due at fixed times, as those of many clients that know nothing of each other
//! are: one that is late counts from when it was due, and holds up the next ones of
//! its worker. Or, in a closed loop, a worker pauses between two requests, and so
//! asks less of a cluster that is slow.

use std::sync::Arc;
use std::time::Duration;

use datanode_client::{Client, Consistency, Error, ErrorKind, PartitionId};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::content::{self, BLOCK_LEN_BYTES};
use super::ledger::{Journal, Ledger, Object, Place, Register, Whole};
use super::record::{Broken, Kind, Recorder};
use crate::demo::chance::Chance;

/// Registers that are made at once.
const LAY_OUT_AT_ONCE: usize = 8;
/// The longest put and append, in bytes.
const PUT_LEN_MAX: u64 = 16 << 10;
const APPEND_LEN_MAX: u64 = 4 << 10;
/// A journal that is longer gets a successor, in another partition.
const JOURNAL_LEN_MAX: u64 = 128 << 10;
/// A read of a journal begins so much before its end, in bytes.
const TAIL_LEN_BYTES: u64 = 4 << 10;

/// A load that runs.
#[derive(Debug)]
pub(super) struct Load {
    stop: CancellationToken,
    workers: JoinSet<()>,
}

/// When a worker makes its next request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So long after the last one was due.
    Every(Duration),
    /// So long after the last one was answered.
    Pause(Duration),
}

/// What the workers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) partitions: Arc<[PartitionId]>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) pace: Pace,
}

/// Makes a register in each partition, so that each is written and read.
///
/// # Errors
/// What the cluster says: before the trial nothing may go wrong.
pub(super) async fn lay_out(client: &Client, partitions: &[PartitionId]) -> Result<Ledger, Error> {
    let registers = stream::iter(partitions.iter().copied())
        .map(|partition_id| async move {
            let extent_id = client.create(partition_id).await?;
            let place = Place { partition_id, extent_id };
            let register = Register::new(place, partition_id.get() << 32);
            let (version, block) = register.next().expect("the first one");
            client.write(partition_id, extent_id, 0, block).await?;
            register.acknowledged(version);
            Ok::<_, Error>(register)
        })
        .buffered(LAY_OUT_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Ledger::new(registers))
}

impl Load {
    /// Starts so many workers.
    pub(super) fn start(shared: &Shared, workers: u64) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for id in 0..workers {
            let worker = Worker {
                id,
                workers,
                shared: shared.clone(),
                chance: Chance::new(id),
                journal: None,
                due_us: None,
                stop: stop.clone(),
            };
            tasks.spawn(worker.run());
        }
        Self { stop, workers: tasks }
    }

    /// Ends it after the requests that are on their way.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.workers.join_all().await;
    }
}

struct Worker {
    id: u64,
    workers: u64,
    shared: Shared,
    chance: Chance,
    /// The one that is appended to now.
    journal: Option<Arc<Journal>>,
    /// Since when the request that comes next is due, if it has a time.
    due_us: Option<u64>,
    stop: CancellationToken,
}

/// Keeps the times of one worker.
struct Pacer {
    pace: Pace,
    recorder: Arc<Recorder>,
    next_us: u64,
}

impl Pacer {
    /// Workers take turns.
    fn new(shared: &Shared, id: u64, workers: u64) -> Self {
        let recorder = Arc::clone(&shared.recorder);
        let offset_us = match shared.pace {
            Pace::Every(every) => micros(every) * id / workers,
            Pace::Pause(_) => 0,
        };
        Self { pace: shared.pace, next_us: recorder.now_us() + offset_us, recorder }
    }

    /// Waits for the time of the next request. Since when it is due, if it is at
    /// a time of its own.
    async fn next(&mut self) -> Option<u64> {
        match self.pace {
            Pace::Pause(pause) => {
                tokio::time::sleep(pause).await;
                None
            }
            Pace::Every(every) => {
                let due_us = self.next_us;
                self.next_us += micros(every);
                let early_us = due_us.saturating_sub(self.recorder.now_us());
                tokio::time::sleep(Duration::from_micros(early_us)).await;
                Some(due_us)
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Worker {
    async fn run(mut self) {
        let mut pacer = Pacer::new(&self.shared, self.id, self.workers);
        while !self.stop.is_cancelled() {
            self.due_us = pacer.next().await;
            match self.chance.below(10) {
                0 | 1 => self.put().await,
                2 | 3 => self.append().await,
                4..=6 => self.write().await,
                _ => self.read().await,
            }
        }
    }

    fn some_partition(&mut self) -> PartitionId {
        *self.chance.pick(&self.shared.partitions).expect("there is at least one")
    }

    fn some_len(&mut self, max: u64) -> usize {
        usize::try_from(1 + self.chance.below(max)).expect("a few KiB")
    }

    async fn put(&mut self) {
        let partition_id = self.some_partition();
        let (seed, len) = (self.chance.next(), self.some_len(PUT_LEN_MAX));
        let put = self.shared.client.put(partition_id, content::sequence(seed, 0, len));
        let put = self.shared.recorder.time_from(self.due_us.take(), Kind::Put, partition_id, put);
        if let Some(stored) = put.await {
            let place = Place { partition_id, extent_id: stored.extent_id };
            self.shared.ledger.add_whole(Whole { place, seed, len });
        }
    }

    async fn append(&mut self) {
        let Some(journal) = self.journal().await else { return };
        let len = self.some_len(APPEND_LEN_MAX);
        let Some((offset, bytes)) = journal.next(len) else {
            self.journal = None;
            return;
        };
        let Place { partition_id, extent_id } = journal.place;
        let append = self.shared.client.append(partition_id, extent_id, bytes);
        let written = self
            .shared
            .recorder
            .time_from(self.due_us.take(), Kind::Append, partition_id, append)
            .await;
        let Some(written) = written else { return };
        if let Err(broken) = journal.acknowledged(offset, written.offset, len) {
            self.shared.recorder.broken(broken);
            self.journal = None;
        }
        if offset + len as u64 > JOURNAL_LEN_MAX {
            self.journal = None;
        }
    }

    /// The current journal, or a new one.
    async fn journal(&mut self) -> Option<Arc<Journal>> {
        if self.journal.is_none() {
            let partition_id = self.some_partition();
            let create = self.shared.client.create(partition_id);
            let create = self.shared.recorder.time_from(
                self.due_us.take(),
                Kind::Create,
                partition_id,
                create,
            );
            let extent_id = create.await?;
            let place = Place { partition_id, extent_id };
            let journal = Arc::new(Journal::new(place, self.chance.next()));
            self.shared.ledger.add_journal(Arc::clone(&journal));
            self.journal = Some(journal);
        }
        self.journal.clone()
    }

    /// Overwrites a register: one of those that only this worker writes.
    async fn write(&mut self) {
        let registers = self.shared.ledger.registers();
        let mine = (registers.len() as u64).saturating_sub(self.id).div_ceil(self.workers);
        if mine == 0 {
            return self.read().await;
        }
        let index = self.id + self.chance.below(mine) * self.workers;
        let register = Arc::clone(&registers[usize::try_from(index).expect("an index")]);
        let Some((version, block)) = register.next() else { return };
        let Place { partition_id, extent_id } = register.place;
        let write = self.shared.client.write(partition_id, extent_id, 0, block);
        if self
            .shared
            .recorder
            .time_from(self.due_us.take(), Kind::Write, partition_id, write)
            .await
            .is_some()
        {
            register.acknowledged(version);
        }
    }

    /// Reads any object, of any worker.
    async fn read(&mut self) {
        let (kind, chance) = (self.chance.below(3), self.chance.next());
        let ledger = &self.shared.ledger;
        let found = match kind {
            0 => ledger.journal(chance).map(Object::Journal),
            1 => ledger.whole(chance).map(Object::Whole),
            _ => None,
        };
        let object = found.or_else(|| {
            let register = self.chance.pick(ledger.registers())?;
            Some(Object::Register(Arc::clone(register)))
        });
        if let Some(object) = object {
            let due_us = self.due_us.take();
            let Shared { recorder, client, .. } = &self.shared;
            let read = read(client, &object, Consistency::Linearizable);
            let partition_id = object.place().partition_id;
            if let Some(Err(broken)) =
                recorder.time_from(due_us, Kind::Read, partition_id, read).await
            {
                recorder.broken(broken);
            }
        }
    }
}

/// Reads an object and judges what came.
///
/// # Errors
/// The client's error. That the object, or the part of it that was promised,
/// is not there is no error but a broken promise.
pub(super) async fn read(
    client: &Client,
    object: &Object,
    consistency: Consistency,
) -> Result<Result<(), Broken>, Error> {
    let Place { partition_id, extent_id } = object.place();
    let reader = client.read(partition_id, extent_id).consistency(consistency);
    let came = match object {
        Object::Register(register) => {
            let floor = register.floor();
            let reader = reader.range(0..BLOCK_LEN_BYTES as u64);
            reader.collect().await.map(|data| register.judge(floor, &data))
        }
        Object::Journal(journal) => {
            let floor = journal.floor();
            let offset = floor.saturating_sub(TAIL_LEN_BYTES);
            reader.from(offset).collect().await.map(|data| journal.judge(floor, offset, &data))
        }
        Object::Whole(whole) => reader.collect().await.map(|data| whole.judge(&data)),
    };
    match came {
        Ok(verdict) => Ok(verdict),
        Err(error) if is_absent(&error) => {
            Ok(Err(Broken::Stale(format!("{}: {error}", object.place()))))
        }
        Err(error) => Err(error),
    }
}

/// The node has answered, and has less than it promised.
fn is_absent(error: &Error) -> bool {
    use datanode_client::Reason::{ExtentNotFound, OffsetOutOfRange};
    let beyond = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid);
    beyond && matches!(error.reason(), Some(ExtentNotFound | OffsetOutOfRange))
}
