//! What operators order a node to do that only the owner of its gate can do.
//!
//! The admin port sends orders; whoever holds the
//! [`Serving`](startup_gate::Serving) takes them, so that a drain by command and
//! the way down after a signal are the same steps.

use parking_lot::Mutex;
use raft_glue::DrainOutcome;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait; operators are few.
const WAITING_MAX: usize = 64;

/// An order, with the way to answer it. A dropped answer means that the node
/// goes down.
#[derive(Debug)]
pub enum Order {
    /// Give every leadership away and be not ready; answered when that is done.
    Drain(oneshot::Sender<DrainOutcome>),
    /// Serve as before; answered when the node is ready again.
    Undrain(oneshot::Sender<()>),
}

/// Between the admin port and the owner.
pub(crate) struct Desk {
    orders: mpsc::Sender<Order>,
    taken: Mutex<Option<mpsc::Receiver<Order>>>,
}

/// The node takes no orders any more.
#[derive(Debug)]
pub(crate) struct GoesDown;

impl Desk {
    pub(crate) fn new() -> Self {
        let (orders, receiver) = mpsc::channel(WAITING_MAX);
        Self { orders, taken: Mutex::new(Some(receiver)) }
    }

    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Order>> {
        self.taken.lock().take()
    }

    /// Orders something and waits until it is done.
    ///
    /// # Cancel safety
    /// What was ordered is carried out all the same.
    pub(crate) async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, GoesDown> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| GoesDown)?;
        answered.await.map_err(|_| GoesDown)
    }
}
