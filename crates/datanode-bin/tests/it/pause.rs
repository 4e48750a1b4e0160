//! A process that stands still while the others go on, asleep or awake: when it
//! goes on it serves nothing that is old by then.

use std::time::{Duration, Instant};

use datanode_client::{Bytes, Client, ExtentId, PartitionId};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::Nodes;

/// For elections, sleep and whatever else the machine is busy with.
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK: usize = 1024;

fn block(fill: u8) -> Bytes {
    vec![fill; BLOCK].into()
}

struct Paused(Pid);

impl Paused {
    fn begin(pid: u32) -> Self {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }

    fn end(self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

/// Asks again until it succeeds: the leader may have to be found.
async fn write(client: &Client, id: PartitionId, extent: ExtentId, fill: u8) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match client.write(id, extent, 0, block(fill)).await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < give_up, "{error}"),
        }
    }
}

async fn a_leader_stands_still(hibernate_after: &str, idle: Duration) {
    let setting = format!("raft.hibernate_after={hibernate_after}");
    let nodes = Nodes::three_with(3, &[&setting]).await;
    let client = nodes.client();
    let mut extents = Vec::new();
    for id in &nodes.partitions {
        let extent = client.create(*id).await.unwrap();
        write(&client, *id, extent, 1).await;
        extents.push((*id, extent));
    }
    tokio::time::sleep(idle).await;
    for paused in 1..=3_u8 {
        let node = u64::from(paused);
        let fill = paused + 1;
        let old = nodes.client_of(node);
        // Its connection is there before it stands still.
        old.read(extents[0].0, extents[0].1).collect().await.unwrap();
        tokio::time::sleep(idle).await;
        let still = Paused::begin(nodes.cluster.node(node).pid().unwrap());
        let others = nodes.client_of(node % 3 + 1);
        for (id, extent) in &extents {
            write(&others, *id, *extent, fill).await;
        }
        still.end();
        for (id, extent) in &extents {
            // An error is no stale read; whatever is read is new.
            let give_up = Instant::now() + PATIENCE;
            loop {
                match old.read(*id, *extent).collect().await {
                    Ok(data) => break assert!(data == block(fill), "a stale read of {id}"),
                    Err(error) => assert!(Instant::now() < give_up, "{error}"),
                }
            }
        }
    }
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_process_serves_nothing_stale() {
    a_leader_stands_still("0s", Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_paused_asleep_serves_nothing_stale() {
    a_leader_stands_still("200ms", Duration::from_secs(2)).await;
}
