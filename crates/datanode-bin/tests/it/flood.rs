//! Clients that ask for more than there is: they wait or are told so, and what holds the
//! cluster together goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datanode_client::Bytes;

use crate::fixture::Nodes;

/// Clients, each with a connection of its own.
const CLIENTS: usize = 16;
/// Requests that each of them has open, one after the other.
const STREAMS: usize = 32;
/// Several election timeouts.
const FLOOD: Duration = Duration::from_secs(8);

/// Hundreds of writers in a closed loop, all at one node, on cores that also run the
/// Raft of all groups: no group changes its leader or its term, and idle ones are
/// answered for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_clients_starves_no_group_of_its_leader() {
    // Awake, so that each group needs its heartbeats.
    let settings = [
        "raft.hibernate_after=0s",
        "raft.heartbeat_interval=500ms",
        r#"raft.election_timeout=["2s", "4s"]"#,
    ];
    let nodes = Nodes::three_with(30, &settings).await;
    let kept = nodes.fill(1024).await;
    let before = nodes.terms(&[1, 2, 3]).await;
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..CLIENTS)
        .flat_map(|_| {
            let client = Arc::new(nodes.client_of(1));
            (0..STREAMS).map(move |_| Arc::clone(&client))
        })
        .enumerate()
        .map(|(number, client)| {
            let (over, done) = (Arc::clone(&over), Arc::clone(&done));
            let partition = nodes.partitions[number % nodes.partitions.len()];
            tokio::spawn(async move {
                let data = Bytes::from(vec![7; 16 << 10]);
                let mut slowest = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    client.put(partition, data.clone()).await.unwrap();
                    slowest = slowest.max(asked.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                slowest
            })
        })
        .collect();
    tokio::time::sleep(FLOOD).await;
    let during = nodes.terms(&[1, 2, 3]).await;
    over.store(true, Ordering::Relaxed);
    let mut slowest = Duration::ZERO;
    for writer in writers {
        slowest = slowest.max(writer.await.unwrap());
    }
    let done = done.load(Ordering::Relaxed);
    println!("{done} writes, the slowest took {slowest:?}");
    assert!(done > (CLIENTS * STREAMS) as u64, "{done} writes are no flood");
    assert_eq!(during, before, "a group changed its leader");
    assert_eq!(nodes.terms(&[1, 2, 3]).await, before, "a group changed its leader");
    nodes.check_through(2, &kept).await;
    nodes.stop().await;
}
