//! The gate is open.

use std::future::Future;
use std::sync::Arc;

use crate::admission::Admission;
use crate::core::Life;
use crate::down::{Down, HandOver};
use crate::handle::Handle;
use crate::machine::Event;
use crate::startup::Confirmers;
use crate::unit::Unit;

/// A node that serves. Units that were waived go on being confirmed as long as
/// this, or the [`Down`] that it becomes, is alive.
///
/// Dropping it counts as a stop without a way down: [`Stage::Stopped`](crate::Stage::Stopped).
#[derive(Debug)]
#[must_use = "dropping it counts as a stop"]
pub struct Serving<U: Unit> {
    life: Life<U>,
    confirmers: Confirmers,
}

impl<U: Unit> Serving<U> {
    pub(crate) fn new(life: Life<U>, confirmers: Confirmers) -> Self {
        Self { life, confirmers }
    }

    /// The view that everybody may hold.
    pub fn handle(&self) -> Handle<U> {
        Handle::new(Arc::clone(&self.life.core))
    }

    /// The means to admit units that are made while the node serves.
    pub fn admission(&self) -> Admission<U> {
        Admission::new(Arc::clone(&self.life.core))
    }

    /// Begins the way down: [`Stage::Draining`](crate::Stage::Draining) at once,
    /// so that readiness is off and nothing is admitted any more; then `notice`
    /// runs (a sleep, long enough for load balancers to look away) while the
    /// port still serves.
    ///
    /// # Cancel safety
    /// Dropped half-way, the node counts as stopped.
    pub async fn drain<F: Future<Output = ()>>(self, notice: F) -> Down<U, HandOver> {
        self.life.core.apply(Event::Drain);
        Down::begin(self.life, self.confirmers, notice).await
    }
}
