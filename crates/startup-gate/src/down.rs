//! The way down, one type a step.
use std::future::Future;
use std::marker::PhantomData;

use crate::handle::Handle;
use crate::report::Report;
use crate::serving::Serving;
use crate::unit::Unit;

/// Next: hand over.
#[derive(Debug)]
pub struct HandOver {}
/// Next: close.
#[derive(Debug)]
pub struct Close {}
/// Next: flush.
#[derive(Debug)]
pub struct Flush {}
/// Next: unload.
#[derive(Debug)]
pub struct Unload {}

/// A node on its way down. `S` names the step that comes next.
#[derive(Debug)]
#[must_use = "the way down is not finished"]
pub struct Down<U: Unit, S> {
    state: S,
    _unit: PhantomData<U>,
}

impl<U: Unit, S> Down<U, S> {
    /// The view that everybody may hold.
    pub fn handle(&self) -> Handle<U> {
        todo!()
    }
}

impl<U: Unit> Down<U, HandOver> {
    /// Moves leaderships away while the port still serves.
    pub async fn hand_over<F: Future<Output = ()>>(self, _work: F) -> Down<U, Close> {
        todo!()
    }

    /// Takes the node back into service.
    pub fn resume(self) -> Serving<U> {
        todo!()
    }
}

impl<U: Unit> Down<U, Close> {
    /// Finishes what is in flight and closes the port.
    pub async fn close<F: Future<Output = ()>>(self, _work: F) -> Down<U, Flush> {
        todo!()
    }

    /// Takes the node back into service: the port is still open.
    pub fn resume(self) -> Serving<U> {
        todo!()
    }
}

impl<U: Unit> Down<U, Flush> {
    /// Makes volatile state durable.
    pub async fn flush<F: Future<Output = ()>>(self, _work: F) -> Down<U, Unload> {
        todo!()
    }
}

impl<U: Unit> Down<U, Unload> {
    /// Releases everything. The node is [`Stage::Stopped`](crate::Stage::Stopped).
    pub async fn unload<F: Future<Output = ()>>(self, _work: F) -> Report {
        todo!()
    }
}
