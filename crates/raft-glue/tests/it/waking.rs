//! Many groups that wake at the same moment do not starve one that is at work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;

use crate::cluster::{Cluster, PATIENT, eventually, put_once};

/// How many sleep, with three replicas each on three nodes of one process.
const SLEEPERS: u64 = 250;
/// Groups that are made at the same time.
const MADE_AT_ONCE: usize = 16;
const IDLE: Duration = Duration::from_millis(300);
/// The busy group's slowest write. It takes milliseconds; one that waits for all
/// wakes in turn, each with its quorum and its disk, would take longer than this.
const SLOWEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_that_wake_at_once_leave_the_busy_group_its_share() {
    let cluster = Cluster::start_sleepy(3, PATIENT, IDLE).await;
    let busy = cluster.create(1, &[1, 2, 3]).await;
    let made: Vec<_> = futures::stream::iter(2..=SLEEPERS + 1)
        .map(|id| cluster.create(id, &[1, 2, 3]))
        .buffer_unordered(MADE_AT_ONCE)
        .collect()
        .await;
    eventually("all to sleep", || async {
        let asleep = |on| made.iter().all(|id| cluster.replica(on, *id).is_asleep());
        (1..=3).all(asleep).then_some(())
    })
    .await;
    let term = cluster.replica(1, busy).status().term;
    let woken = AtomicBool::new(false);
    let work = async {
        let (mut writes, mut slowest) = (0, Duration::ZERO);
        while !woken.load(Ordering::Acquire) {
            let began = Instant::now();
            let done = cluster.replica(1, busy).propose(put_once(b"busy")).await;
            done.expect("the busy group goes on");
            slowest = slowest.max(began.elapsed());
            writes += 1;
        }
        (writes, slowest)
    };
    let wake = async {
        let wakes = made.iter().map(|id| async {
            let replica = cluster.replica(1, *id);
            replica.propose(put_once(b"first")).await.expect("the first write after sleep");
        });
        join_all(wakes).await;
        woken.store(true, Ordering::Release);
    };
    let ((writes, slowest), ()) = tokio::join!(work, wake);
    assert!(writes > 0 && slowest < SLOWEST, "{writes} writes, the slowest took {slowest:?}");
    assert_eq!(cluster.replica(1, busy).status().term, term, "it needed an election");
}
