//! The gate is open.
use std::future::Future;
use std::marker::PhantomData;

use crate::admission::Admission;
use crate::down::{Down, HandOver};
use crate::handle::Handle;
use crate::unit::Unit;

/// A node that serves. Units that were waived go on being confirmed as long as
/// this, or the [`Down`] that it becomes, is alive.
#[derive(Debug)]
#[must_use = "dropping it stops the confirmation of waived units"]
pub struct Serving<U: Unit> {
    _unit: PhantomData<U>,
}

impl<U: Unit> Serving<U> {
    /// The view that everybody may hold.
    pub fn handle(&self) -> Handle<U> {
        todo!()
    }

    /// The means to admit units that are made while the node serves.
    pub fn admission(&self) -> Admission<U> {
        todo!()
    }

    /// Begins the way down: [`Stage::Draining`](crate::Stage::Draining), nothing
    /// is admitted any more, then `notice` runs while the port still serves.
    ///
    /// # Cancel safety
    /// Dropped half-way, the node is stopped: it is neither serving nor down.
    pub async fn drain<F: Future<Output = ()>>(self, _notice: F) -> Down<U, HandOver> {
        todo!()
    }
}
