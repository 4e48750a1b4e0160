//! The way up, one type a stage.

mod check;
mod elect;
mod listen;
mod load;
mod pipeline;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

pub(crate) use elect::Confirmers;

use crate::config::{Config, ConfigError};
use crate::core::{Core, Life};
use crate::error::StartError;
use crate::handle::Handle;
use crate::observer::Observer;
use crate::right::CampaignRight;
use crate::unit::Unit;

/// Nothing is loaded yet.
#[derive(Debug)]
pub struct Load(());

/// Every unit is loaded and checked, or quarantined.
#[derive(Debug)]
pub struct Check(());

/// The barrier is passed: the rights to campaign are minted.
#[derive(Debug)]
pub struct Elect<U> {
    rights: Vec<CampaignRight<U>>,
}

/// Every unit is ready, waived or quarantined.
#[derive(Debug)]
pub struct Listen {
    confirmers: Confirmers,
}

/// A node on its way up. `S` says how far it came: each method consumes it and
/// returns the next one, so stages in the wrong order do not compile.
///
/// Dropping it in any stage, or the future of any of its methods, cancels the
/// start: work under way is dropped, no further right is granted.
#[derive(Debug)]
#[must_use = "dropping it cancels the start"]
pub struct Startup<U: Unit, S> {
    life: Life<U>,
    state: S,
}

impl<U: Unit, S> Startup<U, S> {
    /// The view that everybody may hold.
    pub fn handle(&self) -> Handle<U> {
        Handle::new(Arc::clone(&self.life.core))
    }
}

impl<U: Unit> Startup<U, Load> {
    /// Begins a start: [`Stage::Load`](crate::Stage::Load) on the time-line.
    /// Work that belongs to no unit, such as opening disks, comes between this
    /// and [`Startup::load`] or [`Startup::load_joined`]; give it a [`Handle::span`].
    ///
    /// # Errors
    /// A setting is outside its bounds.
    pub fn new(config: Config, observers: Vec<Arc<dyn Observer<U>>>) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { life: Life { core: Core::new(config, observers) }, state: Load(()) })
    }
}

/// Why the start ended; for use when its machine did.
fn ended<U: Unit>(core: &Core<U>) -> StartError {
    core.with(|inner| StartError::from_end(&inner.machine))
}

/// Ends the start for a reason that the machine does not know.
fn fail<U: Unit>(core: &Core<U>, error: StartError) -> StartError {
    core.apply_with(crate::machine::Event::Failed, |inner| {
        if inner.machine.end().is_none() {
            inner.failure = Some(error.to_string());
        }
    });
    error
}

/// Waits for a deadline and returns it; for ever if there is none.
async fn elapsed(after: Option<Duration>) -> Duration {
    match after {
        Some(after) => {
            sleep(after).await;
            after
        }
        None => pending().await,
    }
}
