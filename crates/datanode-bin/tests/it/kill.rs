//! kill -9 of one node after the other under writes: what was acknowledged is
//! there, once, and whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datanode_client::{Bytes, Client, Crc32c, ExtentId, PartitionId};
use tokio::task::JoinSet;

use crate::fixture::Nodes;

const ROUNDS: u64 = 20;
const PARTITIONS: u64 = 6;
const PUTTERS: u64 = 3;
const APPENDERS: u64 = 3;
/// Acknowledged writes between two kills; a kill that hits nothing proves
/// nothing.
const WRITES_A_ROUND: u64 = 30;
/// How long a round may take.
const ROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// An extent as it was acknowledged.
struct Acked {
    partition: PartitionId,
    extent: ExtentId,
    size: u64,
    crc32c: Crc32c,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    partitions: Vec<PartitionId>,
    acked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Shared {
    /// What a worker writes next: where, and which bytes.
    fn next(&self, worker: u64, turn: u64) -> (PartitionId, Bytes) {
        let mixed = (worker * 7919 + turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let partition = self.partitions[(mixed >> 40) as usize % self.partitions.len()];
        let len = (mixed >> 48) as usize % 20_000;
        (partition, vec![mixed as u8; len].into())
    }

    fn turns(&self) -> impl Iterator<Item = u64> {
        let stop = Arc::clone(&self.stop);
        (0..).take_while(move |_| !stop.load(Ordering::Relaxed))
    }
}

async fn put(shared: Shared, worker: u64) -> Vec<Acked> {
    let mut acked = Vec::new();
    for turn in shared.turns() {
        let (partition, data) = shared.next(worker, turn);
        let (size, crc32c) = (data.len() as u64, Crc32c::of(&data));
        let stored = shared.client.put(partition, data).await.unwrap();
        acked.push(Acked { partition, extent: stored.extent_id, size, crc32c });
        shared.acked.fetch_add(1, Ordering::Relaxed);
    }
    acked
}

async fn append(shared: Shared, worker: u64) -> Vec<Acked> {
    let (partition, _) = shared.next(worker, 0);
    let extent = shared.client.create(partition).await.unwrap();
    let mut acked = Acked { partition, extent, size: 0, crc32c: Crc32c::EMPTY };
    for turn in shared.turns() {
        let (_, data) = shared.next(worker, turn);
        let (len, crc32c) = (data.len() as u64, Crc32c::of(&data));
        let written = shared.client.append(partition, extent, data).await.unwrap();
        assert_eq!(written.offset, acked.size, "appended twice, or lost");
        acked.size += len;
        acked.crc32c = acked.crc32c.followed_by(crc32c, len);
        shared.acked.fetch_add(1, Ordering::Relaxed);
    }
    vec![acked]
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_that_was_acknowledged() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let shared = Shared {
        client: nodes.client(),
        partitions: nodes.partitions.clone(),
        acked: Arc::default(),
        stop: Arc::default(),
    };
    let mut workers = JoinSet::new();
    for worker in 0..PUTTERS {
        workers.spawn(put(shared.clone(), worker));
    }
    for worker in PUTTERS..PUTTERS + APPENDERS {
        workers.spawn(append(shared.clone(), worker));
    }
    for round in 0..ROUNDS {
        let node = nodes.cluster.node_mut(round % 3 + 1);
        node.kill().unwrap();
        node.spawn().unwrap();
        node.wait_listening(ROUND_TIMEOUT).await.unwrap();
        let (began, before) = (Instant::now(), shared.acked.load(Ordering::Relaxed));
        while shared.acked.load(Ordering::Relaxed) < before + WRITES_A_ROUND {
            if let Some(ended) = workers.try_join_next() {
                panic!("round {round}: a writer ended: {:?}", ended.map(|acked| acked.len()));
            }
            assert!(began.elapsed() < ROUND_TIMEOUT, "round {round}: writes do not go on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    shared.stop.store(true, Ordering::Relaxed);
    let acked: Vec<Acked> = workers.join_all().await.into_iter().flatten().collect();
    let writes = shared.acked.load(Ordering::Relaxed);
    println!("{ROUNDS} kills, {writes} acknowledged writes, {} extents", acked.len());
    assert!(writes >= ROUNDS * WRITES_A_ROUND);
    for (acked, node) in acked.iter().zip([1, 2, 3].into_iter().cycle()) {
        check(&nodes.client_of(node), acked).await;
    }
    nodes.stop().await;
}

async fn check(client: &Client, acked: &Acked) {
    let Acked { partition, extent, size, crc32c } = *acked;
    let data = client.read(partition, extent).collect().await.unwrap();
    let found = (data.len() as u64, Crc32c::of(&data));
    assert_eq!(found, (size, crc32c), "partition {partition}, extent {extent}");
}
