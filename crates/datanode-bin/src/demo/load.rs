//! Readers and writers that go on while nodes are restarted, and what they were
//! promised: every acknowledged write, to be read back afterwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use datanode_client::{Client, Crc32c, Error, ExtentId, PartitionId};
use futures::{StreamExt, stream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::chance::{Chance, bytes_of};
use super::compare::{self, Verdict};
use super::record::{Faults, Kind, Recorder};
use super::store::{AT_ONCE, StoredFile};

/// Workers of each kind.
const READERS: usize = 4;
const PUTTERS: usize = 2;
const APPENDERS: usize = 2;
/// The longest range of a read, and the longest write, in bytes.
const READ_LEN_MAX: u64 = 256 << 10;
const WRITE_LEN_MAX: u64 = 64 << 10;
/// Between two requests of a worker: the nodes share this machine with us.
const PAUSE: Duration = Duration::from_millis(5);

/// A load that runs.
pub(super) struct Load {
    pub(super) recorder: Arc<Recorder>,
    stop: CancellationToken,
    workers: JoinSet<Vec<Promise>>,
}

/// What the workers share.
#[derive(Clone)]
struct Shared {
    client: Client,
    files: Arc<[StoredFile]>,
    partitions: Arc<[PartitionId]>,
    recorder: Arc<Recorder>,
    faults: Arc<Mutex<Faults>>,
    stop: CancellationToken,
}

/// An extent with what was acknowledged of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    partition_id: PartitionId,
    extent_id: ExtentId,
    size: u64,
    crc32c: Crc32c,
}

impl Load {
    /// Starts the workers.
    pub(super) fn start(
        client: Client,
        files: Arc<[StoredFile]>,
        partitions: Arc<[PartitionId]>,
        faults: Arc<Mutex<Faults>>,
    ) -> Self {
        let recorder = Arc::new(Recorder::new(READERS + PUTTERS + APPENDERS));
        let stop = CancellationToken::new();
        let shared = Shared {
            client,
            files,
            partitions,
            recorder: Arc::clone(&recorder),
            faults,
            stop: stop.clone(),
        };
        let mut workers = JoinSet::new();
        let mut ids = 0..;
        for worker in ids.by_ref().take(READERS) {
            workers.spawn(read(shared.clone(), worker));
        }
        for worker in ids.by_ref().take(PUTTERS) {
            workers.spawn(put(shared.clone(), worker));
        }
        for worker in ids.take(APPENDERS) {
            workers.spawn(append(shared.clone(), worker));
        }
        Self { recorder, stop, workers }
    }

    /// Ends the load after the requests that are on their way. Gives what must
    /// be there now.
    pub(super) async fn stop(self) -> Vec<Promise> {
        self.stop.cancel();
        self.workers.join_all().await.into_iter().flatten().collect()
    }
}

impl Shared {
    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().expect("no panics under it")
    }

    /// The pause between requests; false at the end.
    async fn go_on(&self) -> bool {
        tokio::time::sleep(PAUSE).await;
        !self.stop.is_cancelled()
    }
}

/// Reads ranges of files and compares them.
async fn read(shared: Shared, worker: usize) -> Vec<Promise> {
    let mut chance = Chance::new(worker as u64);
    while shared.go_on().await {
        let Some(file) = chance.pick(&shared.files) else { break };
        let len_bytes = file.source.len_bytes;
        let start = chance.below(len_bytes + 1);
        let end = (start + READ_LEN_MAX).min(len_bytes);
        let request = compare::range(&shared.client, file, start..end);
        match shared.recorder.time(worker, Kind::Read, request).await {
            Ok(Verdict::Same) => {}
            Ok(Verdict::Different(what)) => shared.faults().mismatch(&compare::told(file, &what)),
            Err(error) => shared.faults().client_error(&compare::told(file, &error.to_string())),
        }
    }
    Vec::new()
}

/// Puts small extents into one partition after the other.
async fn put(shared: Shared, worker: usize) -> Vec<Promise> {
    let mut chance = Chance::new(worker as u64);
    let mut promises = Vec::new();
    while shared.go_on().await {
        let Some(partition_id) = chance.pick(&shared.partitions).copied() else { break };
        let data = bytes_of(chance.next(), some_len(&mut chance));
        let (size, crc32c) = (data.len() as u64, Crc32c::of(&data));
        let request = shared.client.put(partition_id, data);
        match shared.recorder.time(worker, Kind::Write, request).await {
            Ok(stored) => {
                let extent_id = stored.extent_id;
                promises.push(Promise { partition_id, extent_id, size, crc32c });
            }
            Err(error) => shared.faults().client_error(&error),
        }
    }
    promises
}

/// Appends to one extent: each append must go exactly where the last one ended.
async fn append(shared: Shared, worker: usize) -> Vec<Promise> {
    let mut chance = Chance::new(worker as u64);
    let Some(partition_id) = chance.pick(&shared.partitions).copied() else { return Vec::new() };
    let extent_id = match shared.client.create(partition_id).await {
        Ok(extent_id) => extent_id,
        Err(error) => {
            shared.faults().client_error(&error);
            return Vec::new();
        }
    };
    let mut promise = Promise { partition_id, extent_id, size: 0, crc32c: Crc32c::EMPTY };
    while shared.go_on().await {
        let data = bytes_of(chance.next(), some_len(&mut chance));
        let (len_bytes, crc32c) = (data.len() as u64, Crc32c::of(&data));
        let request = shared.client.append(partition_id, extent_id, data);
        match shared.recorder.time(worker, Kind::Write, request).await {
            Ok(written) if written.offset == promise.size => {
                promise.size += len_bytes;
                promise.crc32c = promise.crc32c.followed_by(crc32c, len_bytes);
            }
            Ok(written) => {
                let (at, expected) = (written.offset, promise.size);
                let what = format!(
                    "partition {partition_id}, extent {extent_id}: append went to {at}, not {expected}"
                );
                shared.faults().mismatch(&what);
                break;
            }
            Err(error) => {
                // It may have been applied: nothing more is known of this extent.
                shared.faults().client_error(&error);
                return Vec::new();
            }
        }
    }
    vec![promise]
}

fn some_len(chance: &mut Chance) -> usize {
    usize::try_from(chance.below(WRITE_LEN_MAX)).expect("at most 64 KiB")
}

/// Reads every promise back.
pub(super) async fn check(client: &Client, promises: &[Promise], faults: &Mutex<Faults>) {
    stream::iter(promises)
        .for_each_concurrent(AT_ONCE, |promise| async move {
            let found = sum(client, promise).await;
            let mut faults = faults.lock().expect("no panics under it");
            match found {
                Ok(found) if found == (promise.size, promise.crc32c) => {}
                Ok(found) => faults.mismatch(&format!("{promise:?}: found {found:?}")),
                Err(error) => faults.client_error(&format!("{promise:?}: {error}")),
            }
        })
        .await;
}

/// Size and checksum of an extent, from its bytes.
async fn sum(client: &Client, promise: &Promise) -> Result<(u64, Crc32c), Error> {
    let mut reader = client.read(promise.partition_id, promise.extent_id);
    let (mut size, mut crc32c) = (0, Crc32c::EMPTY);
    while let Some(frame) = reader.next().await? {
        size += frame.data.len() as u64;
        crc32c = crc32c.followed_by(frame.crc32c, frame.data.len() as u64);
    }
    Ok((size, crc32c))
}
