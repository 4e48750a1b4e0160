//! A restart among serving peers: the client port is refused until the node is
//! ready and open from then on, and until then the node leads nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datanode_bin::cluster::Signal;
use datanode_client::{AdminClient, NodeId};
use tokio::task::spawn_blocking;

use crate::fixture::{Kept, Nodes};
use crate::probe::{metric, watch_port, watch_ready};

const PARTITIONS: u64 = 24;
/// The peers wait longer for their leader: without the fence, the node that
/// loads would be the first to campaign.
const HASTY: &str = r#"raft.election_timeout=["400ms", "600ms"]"#;
/// What each load takes, one after the other.
const LOAD: Duration = Duration::from_millis(100);
const RESTARTED: u64 = 3;
const PEERS: [u64; 2] = [1, 2];
/// Between "the port took a connection" and "`/readyz` says yes", either way.
/// A busy machine answers late; a port that opens early is seconds ahead.
const TOGETHER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_closed_and_nothing_is_led_until_a_restarted_node_is_ready() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let kept = nodes.fill(4000).await;
    for signal in [Signal::Term, Signal::Kill] {
        restart_slowly(&mut nodes, &kept, signal).await;
    }
    nodes.stop().await;
}

async fn restart_slowly(nodes: &mut Nodes, kept: &[Kept], signal: Signal) {
    // Those that it leads are without a leader when it is killed.
    lead_here(nodes).await;
    match signal {
        Signal::Term => nodes.terminate(&[RESTARTED]).await,
        Signal::Kill => drop(nodes.cluster.node_mut(RESTARTED).kill().unwrap()),
    }
    // Whoever names the node in one of these terms remembers; whoever names it
    // in a later one saw it lead.
    let terms = Arc::new(nodes.terms(&PEERS).await);
    let stop = Arc::new(AtomicBool::new(false));
    let watchers = PEERS.map(|id| {
        let (terms, stop) = (Arc::clone(&terms), Arc::clone(&stop));
        tokio::spawn(watch_leaders(nodes.admin_of(id), terms, stop))
    });

    let node = nodes.cluster.node_mut(RESTARTED);
    node.set_environment(&[("DATANODE_TEST_LOAD_DELAY_MS", &LOAD.as_millis().to_string())]);
    // What is moved to it later, against the preferences, is to stay there.
    let settings = ["startup.load_concurrency=1", "raft.hand_back_rate=0", HASTY];
    node.set_arguments(settings.iter().flat_map(|setting| ["--set", *setting]));
    let ports = *node.ports();
    node.spawn().unwrap();
    let (port, ready) = (
        spawn_blocking(move || watch_port(ports.client)),
        spawn_blocking(move || watch_ready(ports.admin)),
    );
    let opened = port.await.unwrap();
    // Asked once, at once, without a second try.
    nodes.check_through(RESTARTED, kept).await;
    let ready = ready.await.unwrap();
    stop.store(true, Ordering::Relaxed);

    let apart = ready.max(opened.at) - ready.min(opened.at);
    assert!(apart < TOGETHER, "port and /readyz were {apart:?} apart");
    assert!(opened.refused >= 200, "the port was tried {} times only", opened.refused);
    let report = nodes.report(RESTARTED);
    let load = &report["stages"][0];
    let loading_ms = load["end_ms"].as_f64().unwrap() - load["start_ms"].as_f64().unwrap();
    let shortest_ms = LOAD.as_secs_f64() * 1000.0 * PARTITIONS as f64;
    assert!(loading_ms >= shortest_ms, "the start was not slowed: {report}");

    let mut looks = 0;
    for watcher in watchers {
        let watched = watcher.await.unwrap();
        looks += watched.looks;
        if let Some((at, partition, term)) = watched.led {
            let early = opened.at.saturating_duration_since(at);
            assert_eq!(early, Duration::ZERO, "it led partition {partition} in term {term}");
        }
    }
    assert!(looks >= 20, "its peers were asked {looks} times only");
    for name in [
        "datanode_self_led_prelisten_total",
        "datanode_leader_unserved_seconds_total",
        "datanode_election_fence_suppressed_total",
    ] {
        assert_eq!(metric(ports.admin, name), 0, "{name} after {}", signal.name());
    }
    let first = if ready < opened.at { "/readyz" } else { "the port" };
    println!(
        "{}: refused {} times, {looks} looks at its peers, {first} came {apart:?} first",
        signal.name(),
        opened.refused
    );
}

/// Moves every leadership to the node that is restarted.
async fn lead_here(nodes: &Nodes) {
    let (admin, to) = (nodes.admin_of(PEERS[0]), NodeId::new(RESTARTED).unwrap());
    for &partition in &nodes.partitions {
        admin.transfer_leader(partition, to).await.unwrap();
    }
    let leaders = nodes.cluster.leaders().await.unwrap();
    let led = leaders.iter().find(|(id, _)| *id == RESTARTED).map_or(0, |(_, led)| *led);
    assert!(led >= PARTITIONS / 2, "it leads too little to show anything: {leaders:?}");
}

/// What a peer said of the restarted node.
struct Watched {
    looks: u64,
    /// When it was first named as a leader of a new term, of what, and of which.
    led: Option<(Instant, u64, u64)>,
}

async fn watch_leaders(
    peer: AdminClient,
    terms: Arc<HashMap<u64, u64>>,
    stop: Arc<AtomicBool>,
) -> Watched {
    let mut watched = Watched { looks: 0, led: None };
    while !stop.load(Ordering::Relaxed) {
        let partitions = peer.partitions().await.unwrap();
        assert_eq!(partitions.len() as u64, PARTITIONS);
        watched.looks += 1;
        let new = partitions.iter().find(|partition| {
            let id = partition.partition_id;
            partition.leader_node_id == RESTARTED && partition.term > terms[&id]
        });
        if let (Some(new), None) = (new, watched.led) {
            watched.led = Some((Instant::now(), new.partition_id, new.term));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    watched
}
