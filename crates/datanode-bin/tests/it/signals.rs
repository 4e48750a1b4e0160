//! SIGTERM and SIGKILL in every stage of a node's life: it ends in order or at
//! once, and the next start has everything that was acknowledged.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fixture::{Kept, Nodes};
use crate::node::http_status;
use crate::probe::{PATIENCE, wait_stage};

const PARTITIONS: u64 = 6;
const NODE: u64 = 3;
const PEERS: [u64; 2] = [1, 2];
/// From SIGTERM to the end, on a busy machine.
const GOES_DOWN_WITHIN: Duration = Duration::from_secs(10);

/// A stage, and how a node is kept in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Load,
    Check,
    Elect,
    Serving,
    Draining,
}

impl Held {
    const ALL: [Self; 5] = [Self::Load, Self::Check, Self::Elect, Self::Serving, Self::Draining];

    fn stage(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Check => "check",
            Self::Elect => "elect",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }

    /// Starts the node and waits until it is held in the stage.
    async fn enter(self, nodes: &mut Nodes) {
        let node = nodes.cluster.node_mut(NODE);
        match self {
            Self::Load => node.set_environment(&[("DATANODE_TEST_LOAD_DELAY_MS", "20000")]),
            Self::Check => node.set_environment(&[("DATANODE_TEST_CHECK_DELAY_MS", "20000")]),
            Self::Draining => node.set_arguments(["--set", "shutdown.notice=20s"]),
            Self::Elect | Self::Serving => {}
        }
        node.spawn().unwrap();
        node.set_environment(&[]);
        node.set_arguments::<&str>([]);
        let admin = node.ports().admin;
        if matches!(self, Self::Serving | Self::Draining) {
            node.wait_listening(PATIENCE).await.unwrap();
        }
        if self == Self::Draining {
            node.signal(Signal::TERM).unwrap();
        }
        wait_stage(admin, self.stage());
        let open = crate::node::is_open(node.ports().client);
        assert_eq!(open, matches!(self, Self::Serving | Self::Draining), "in {self:?}");
        assert_eq!(http_status(admin, "/livez"), Some(200), "in {self:?}");
    }

    /// Only a node that finds no quorum stays in *elect*.
    async fn make_room(self, nodes: &mut Nodes) {
        if self == Self::Elect {
            nodes.terminate(&PEERS).await;
        }
    }

    async fn start_all(self, nodes: &mut Nodes) {
        match self {
            Self::Elect => nodes.start(&[1, 2, NODE]).await,
            _ => nodes.start(&[NODE]).await,
        };
    }
}

/// Everything so far, and what is written while the node is down: that it has
/// to catch up with.
async fn write_without(nodes: &mut Nodes, kept: &mut Vec<Kept>) {
    kept.extend(nodes.fill(3000).await);
    nodes.terminate(&[NODE]).await;
    kept.extend(nodes.fill(3000).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_each_stage_ends_in_order_and_the_next_start_has_everything() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let mut kept = Vec::new();
    for held in Held::ALL {
        write_without(&mut nodes, &mut kept).await;
        held.make_room(&mut nodes).await;
        held.enter(&mut nodes).await;
        let node = nodes.cluster.node_mut(NODE);
        let asked = Instant::now();
        node.signal(Signal::TERM).unwrap();
        let ended = node.wait_ended(GOES_DOWN_WITHIN).await.unwrap();
        println!("SIGTERM in {held:?}: ended with {} after {:?}", ended.status, asked.elapsed());
        let log = node.log_tail();
        if held == Held::Draining {
            // There it is the second one, which does not wait.
            assert_eq!(ended.status.code(), Some(1), "{log}");
            assert!(log.contains("error: stopped at once by a second signal"), "{log}");
        } else {
            assert!(ended.status.success(), "in {held:?}: {}\n{log}", ended.status);
            assert!(log.contains("stopped after"), "in {held:?}: {log}");
        }
        held.start_all(&mut nodes).await;
        nodes.check_local(NODE, &kept).await;
        nodes.check_through(NODE, &kept).await;
    }
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_in_each_stage_twice_in_a_row_loses_nothing() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let mut kept = Vec::new();
    for held in Held::ALL {
        write_without(&mut nodes, &mut kept).await;
        held.make_room(&mut nodes).await;
        for _ in 0..2 {
            held.enter(&mut nodes).await;
            if held == Held::Serving {
                // Acknowledged the moment before, by a quorum with this node.
                kept.extend(nodes.fill(20_000).await);
            }
            nodes.cluster.node_mut(NODE).kill().unwrap();
        }
        held.start_all(&mut nodes).await;
        nodes.check_local(NODE, &kept).await;
        nodes.check_through(NODE, &kept).await;
        println!("SIGKILL in {held:?}, twice: {} extents are there", kept.len());
    }
    nodes.stop().await;
}
