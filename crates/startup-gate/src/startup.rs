//! The way up, one type a stage.
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::error::StartError;
use crate::fault::{NodeFault, UnitFault};
use crate::handle::Handle;
use crate::observer::Observer;
use crate::right::{CampaignRight, ServeRight};
use crate::serving::Serving;
use crate::ticket::{CheckTicket, Confirm, LoadTicket, NotConfirmed};
use crate::unit::{Unit, UnitSpec};

/// Nothing is loaded yet.
#[derive(Debug)]
pub struct Load {}
/// Every unit is loaded and checked, or quarantined.
#[derive(Debug)]
pub struct Check {}
/// The barrier is passed.
#[derive(Debug)]
pub struct Elect {}
/// Every unit is ready, waived or quarantined.
#[derive(Debug)]
pub struct Listen {}

/// A node on its way up. `S` says how far it came: each method consumes it and
/// returns the next one, so stages in the wrong order do not compile.
#[derive(Debug)]
#[must_use = "dropping it cancels the start"]
pub struct Startup<U: Unit, S> {
    state: S,
    _unit: PhantomData<U>,
}

impl<U: Unit, S> Startup<U, S> {
    /// The view that everybody may hold.
    pub fn handle(&self) -> Handle<U> {
        todo!()
    }
}

impl<U: Unit> Startup<U, Load> {
    /// Begins a start.
    ///
    /// # Errors
    /// A setting is outside its bounds.
    pub fn new(_config: Config, _observers: Vec<Arc<dyn Observer<U>>>) -> Result<Self, ConfigError> {
        todo!()
    }

    /// Loads and checks all units: a pipeline, bounded in each lane and overall.
    ///
    /// # Errors
    /// Cancelled; or a unit was given twice.
    pub async fn load<T, L, LF, C, CF>(
        self,
        _units: impl IntoIterator<Item = UnitSpec<U>>,
        _load: L,
        _check: C,
    ) -> Result<Startup<U, Check>, StartError>
    where
        T: Send + 'static,
        L: Fn(LoadTicket<U>) -> LF + Send + Sync + 'static,
        LF: Future<Output = Result<T, UnitFault>> + Send + 'static,
        C: Fn(CheckTicket<U>, T) -> CF + Send + Sync + 'static,
        CF: Future<Output = Result<(), UnitFault>> + Send + 'static,
    {
        todo!()
    }
}

impl<U: Unit> Startup<U, Check> {
    /// The barrier: the node-wide check, then the quarantine budget.
    ///
    /// # Errors
    /// The node is unfit, over budget, or the policy is strict; cancelled; deadline.
    pub async fn check<F>(self, _node_wide: F) -> Result<Startup<U, Elect>, StartError>
    where
        F: Future<Output = Result<(), NodeFault>>,
    {
        todo!()
    }
}

impl<U: Unit> Startup<U, Elect> {
    /// Grants every checked unit its right to campaign, in order of priority,
    /// then asks `confirm` until each one is confirmed or waived.
    ///
    /// # Errors
    /// Cancelled; over budget or strict when `confirm` found faults.
    pub async fn elect<G, C, CF>(
        self,
        _unfence: G,
        _confirm: C,
    ) -> Result<Startup<U, Listen>, StartError>
    where
        G: FnMut(CampaignRight<U>),
        C: Fn(Confirm<U>) -> CF + Send + Sync + 'static,
        CF: Future<Output = Result<(), NotConfirmed>> + Send + 'static,
    {
        todo!()
    }
}

impl<U: Unit> Startup<U, Listen> {
    /// Opens the port, last of all.
    ///
    /// # Errors
    /// The port could not be opened; cancelled; deadline.
    pub async fn listen<T, O, OF>(self, _open: O) -> Result<(Serving<U>, T), StartError>
    where
        O: FnOnce(ServeRight) -> OF,
        OF: Future<Output = io::Result<T>>,
    {
        todo!()
    }
}
