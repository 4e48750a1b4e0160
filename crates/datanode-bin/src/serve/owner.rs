//! The owner of a node that serves: it waits for the signal to stop and takes
//! the orders of operators. A drain by order and the first half of the way down
//! are the same steps, so that both are as well tried.
//!
//! ```text
//!            order, signal        notice, hand over
//! (serving) ───────────────▶ (draining) ───────────▶ (drained) ──▶ close …
//!     ▲                           │ undo                │  │ signal
//!     └───────────────────────────┴─────────────────────┘
//! ```
//! Until a signal comes the client port stays open, also on a drained node.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use partition_types::PartitionId;
use raft_glue::{DrainOutcome, Partition, PartitionHost};
use rpc_server::Order;
use startup_gate::state::Close;
use startup_gate::{Down, Serving};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

type Answer = oneshot::Sender<DrainOutcome>;

/// Who holds the gate of a node that serves.
pub(super) struct Owner {
    pub(super) host: PartitionHost,
    /// From "not ready" to the first hand-over.
    pub(super) notice: Duration,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Cancelled by the signal to stop.
    pub(super) stop: CancellationToken,
}

impl Owner {
    /// Lets the node serve until it is told to stop. What comes back is drained,
    /// and its client port is next.
    ///
    /// # Cancel safety
    /// Dropped half-way, the node counts as stopped.
    pub(super) async fn serve(
        mut self,
        mut serving: Serving<PartitionId>,
    ) -> Down<PartitionId, Close> {
        loop {
            let asked = self.until_drain().await;
            let drained = match self.drain(serving, asked).await {
                Ok(down) => self.stay_drained(down).await,
                back => back,
            };
            match drained {
                Ok(down) => return down,
                Err(back) => serving = back,
            }
        }
    }

    /// Waits for a reason to drain. Who wants to know when it is done.
    async fn until_drain(&mut self) -> Vec<Answer> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Vec::new(),
                Some(order) = self.orders.recv() => match order {
                    Order::Drain(answer) => return vec![answer],
                    // It serves already.
                    Order::Undrain(answer) => tell(answer, ()),
                },
            }
        }
    }

    /// Readiness off, notice, every leadership away; or back, if an order calls
    /// it off meanwhile.
    async fn drain(
        &mut self,
        serving: Serving<PartitionId>,
        mut asked: Vec<Answer>,
    ) -> Result<Down<PartitionId, Close>, Serving<PartitionId>> {
        let called_off = CancellationToken::new();
        let (host, notice) = (self.host.clone(), self.notice);
        let before = led(&host);
        let steps = async {
            let notice = unless(&called_off, tokio::time::sleep(notice));
            let down = serving.drain(notice.map(|_| ())).await;
            if called_off.is_cancelled() {
                return (Err(down.resume()), None);
            }
            let mut outcome = None;
            let work = async { outcome = unless(&called_off, host.drain()).await };
            let down = down.hand_over(work).await;
            if called_off.is_cancelled() {
                // First the right, then the word that it is ready to be used.
                host.undrain();
                return (Err(down.resume()), outcome);
            }
            (Ok(down), outcome)
        };
        let mut steps = pin!(steps);
        let mut undone = Vec::new();
        let (drained, outcome) = loop {
            tokio::select! {
                drained = &mut steps => break drained,
                Some(order) = self.orders.recv() => match order {
                    Order::Drain(answer) => asked.push(answer),
                    Order::Undrain(answer) if !self.stop.is_cancelled() => {
                        called_off.cancel();
                        undone.push(answer);
                    }
                    // Dropped, the answer says that the node goes down.
                    Order::Undrain(_) => {}
                },
            }
        };
        // None: it was called off, or the time was up.
        let outcome = outcome.unwrap_or_else(|| DrainOutcome {
            before,
            after: led(&self.host),
            ..DrainOutcome::default()
        });
        log(&outcome, drained.is_ok());
        asked.into_iter().for_each(|answer| tell(answer, outcome.clone()));
        undone.into_iter().for_each(|answer| tell(answer, ()));
        drained
    }

    /// Keeps the node as it is until it is to go on, down or back.
    async fn stay_drained(
        &mut self,
        down: Down<PartitionId, Close>,
    ) -> Result<Down<PartitionId, Close>, Serving<PartitionId>> {
        if self.stop.is_cancelled() {
            return Ok(down);
        }
        loop {
            let order = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(order) = self.orders.recv() => order,
            };
            match order {
                Order::Undrain(answer) => {
                    self.host.undrain();
                    let serving = down.resume();
                    tell(answer, ());
                    return Err(serving);
                }
                // Somebody who was away may take now what was left.
                Order::Drain(answer) => {
                    if let Some(outcome) = unless(&self.stop, self.host.drain()).await {
                        tell(answer, outcome);
                    }
                }
            }
        }
        // It may have been drained for hours: others are there now.
        if led(&self.host) > 0 {
            log(&self.host.drain().await, true);
        }
        Ok(down)
    }
}

/// Answers an order. Who gave it may be gone.
fn tell<T>(answer: oneshot::Sender<T>, what: T) {
    let _ = answer.send(what);
}

/// What `work` makes, unless `token` is cancelled first.
async fn unless<T>(token: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    token.run_until_cancelled(work).await
}

fn led(host: &PartitionHost) -> usize {
    host.list().iter().filter(|partition| Partition::is_leader(partition)).count()
}

fn log(outcome: &DrainOutcome, drained: bool) {
    let DrainOutcome { before, after, sole_voters, alone } = outcome;
    let (sole_voters, alone) = (sole_voters.len(), alone.len());
    match (drained, after) {
        (false, _) => tracing::info!("the drain was called off: the node serves as before"),
        (true, 0) => tracing::info!(before, sole_voters, alone, "leaderships handed over"),
        (true, _) => tracing::warn!(before, after, "not every leadership was handed over in time"),
    }
}
