//! The stage *check*: the barrier between those who may only vote and those who
//! may campaign.

use std::future::Future;

use super::{Check, Elect, Startup, ended, fail};
use crate::caught::caught;
use crate::core::Grant;
use crate::error::StartError;
use crate::fault::NodeFault;
use crate::machine::Event;
use crate::right::CampaignRight;
use crate::stage::Stage;
use crate::unit::Unit;

impl<U: Unit> Startup<U, Check> {
    /// The barrier: runs the node-wide check, then decides whether the
    /// quarantined units are within the policy. Only behind it is any right to
    /// campaign minted.
    ///
    /// # Errors
    /// [`StartError::Node`] with what `node_wide` returned;
    /// [`StartError::OverBudget`], [`StartError::Strict`],
    /// [`StartError::Deadline`], [`StartError::Cancelled`],
    /// [`StartError::Panicked`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the start.
    pub async fn check<F>(self, node_wide: F) -> Result<Startup<U, Elect<U>>, StartError>
    where
        F: Future<Output = Result<(), NodeFault>>,
    {
        let core = &self.life.core;
        let stage = Stage::Check;
        let deadline = core.config.deadlines.check;
        let checked = tokio::select! {
            biased;
            () = core.stop.cancelled() => return Err(ended(core)),
            checked = caught(node_wide) => checked,
            after = super::elapsed(deadline) => {
                return Err(fail(core, StartError::Deadline { stage, after }));
            }
        };
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => return Err(fail(core, StartError::Node { stage, fault })),
            Err(message) => return Err(fail(core, StartError::Panicked { stage, message })),
        }
        let grants = core.apply(Event::NodeChecked);
        if core.with(|inner| inner.machine.end().is_some()) {
            return Err(ended(core));
        }
        let rights = grants.into_iter().filter_map(|grant| match grant {
            Grant::Campaign(unit) => Some(CampaignRight::mint(unit)),
            Grant::Vote(_) | Grant::Serve => None,
        });
        let state = Elect { rights: rights.collect() };
        Ok(Startup { life: self.life, state })
    }
}
