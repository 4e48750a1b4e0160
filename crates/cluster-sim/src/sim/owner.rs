//! The owner of a node that serves: it takes orders, as the one in
//! `datanode serve` takes them from operators and signals.

use std::time::Duration;

use partition_types::PartitionId;
use startup_gate::Serving;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::node::Node;
use super::world::Order;

/// From "not ready" to the first hand-over.
const NOTICE: Duration = Duration::from_millis(100);

pub(crate) struct Owner {
    pub(crate) node: Node,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
}

impl Owner {
    /// Lets the node serve until it is told to stop, and takes it down: notice,
    /// leaderships over to others, the port closed, the store flushed and closed.
    pub(crate) async fn serve(
        mut self,
        mut serving: Serving<PartitionId>,
        client_port: JoinHandle<()>,
        peer_port: JoinHandle<()>,
    ) -> Result<(), String> {
        let host = self.node.host.clone();
        let down = loop {
            let stop = match self.orders.recv().await {
                None => return Err("nobody gives orders any more".into()),
                Some(Order::Undrain) => continue,
                Some(Order::Purge) => {
                    self.purge().await;
                    continue;
                }
                Some(Order::Drain) => false,
                Some(Order::Stop) => true,
            };
            self.node.world.event(&format!("node {} drains", self.node.id));
            let down = serving.drain(tokio::time::sleep(NOTICE)).await;
            let down = down
                .hand_over(async {
                    let outcome = host.drain().await;
                    let (before, after) = (outcome.before, outcome.after);
                    let what = format!("node {} drained {before} to {after}", self.node.id);
                    self.node.world.event(&what);
                })
                .await;
            if stop || self.is_stopped_while_drained().await {
                break down;
            }
            host.undrain();
            serving = down.resume();
            self.node.world.event(&format!("node {} takes part again", self.node.id));
        };
        let down = down
            .close(async {
                client_port.abort();
                self.node.set_open(false);
            })
            .await;
        let store = self.node.store.clone();
        let flushing = store.clone();
        let down = down
            .flush(async {
                host.shutdown().await;
                peer_port.abort();
                if let Ok(Err(error)) = flushing.blocking(|store| store.flush()).await {
                    self.node.world.event(&format!("not flushed: {error}"));
                }
            })
            .await;
        let closed = async {
            if let Err(error) = store.close() {
                self.node.world.event(&format!("not closed: {error}"));
            }
        };
        down.unload(closed).await;
        Ok(())
    }

    /// Waits for what comes after a drain.
    async fn is_stopped_while_drained(&mut self) -> bool {
        while let Some(order) = self.orders.recv().await {
            match order {
                Order::Undrain => return false,
                Order::Stop => return true,
                Order::Purge => self.purge().await,
                Order::Drain => {}
            }
        }
        true
    }

    /// Makes logs short, so that who was away needs a snapshot.
    async fn purge(&self) {
        for partition in self.node.host.list() {
            if let Err(error) = partition.snapshot().await {
                self.node.world.event(&format!("not purged: {error}"));
            }
        }
    }
}
