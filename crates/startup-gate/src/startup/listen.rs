//! The stage *listen*: the port opens, last of all.

use std::future::Future;
use std::io;

use super::{Listen, Startup, ended, fail};
use crate::caught::caught;
use crate::core::Grant;
use crate::error::StartError;
use crate::machine::Event;
use crate::right::ServeRight;
use crate::serving::Serving;
use crate::stage::Stage;
use crate::unit::Unit;

impl<U: Unit> Startup<U, Listen> {
    /// Opens the port. `open` gets the only [`ServeRight`] there is; what it
    /// returns is handed on. The gate counts as open once it returned.
    ///
    /// # Errors
    /// [`StartError::Open`] with what `open` returned; [`StartError::Cancelled`],
    /// [`StartError::Deadline`], [`StartError::Panicked`]; and
    /// [`StartError::OverBudget`] or [`StartError::Strict`] if units were
    /// quarantined meanwhile. What `open` returned is dropped then.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the start; `open` must not leave a port open
    /// when its future is dropped.
    pub async fn listen<T, O, OF>(self, open: O) -> Result<(Serving<U>, T), StartError>
    where
        O: FnOnce(ServeRight) -> OF,
        OF: Future<Output = io::Result<T>>,
    {
        let core = &self.life.core;
        let stage = Stage::Listen;
        let granted = core.apply(Event::Open);
        if !granted.contains(&Grant::Serve) {
            return Err(ended(core));
        }
        let right = ServeRight::mint();
        let deadline = core.config.deadlines.listen;
        let opened = tokio::select! {
            biased;
            () = core.stop.cancelled() => return Err(ended(core)),
            opened = caught(async { open(right).await }) => opened,
            after = super::elapsed(deadline) => {
                return Err(fail(core, StartError::Deadline { stage, after }));
            }
        };
        let port = match opened {
            Ok(Ok(port)) => port,
            Ok(Err(source)) => return Err(fail(core, StartError::Open { source })),
            Err(message) => return Err(fail(core, StartError::Panicked { stage, message })),
        };
        core.apply(Event::Opened);
        // A cancel that came first wins: the machine has decided.
        if core.with(|inner| inner.machine.stage()) != Stage::Serving {
            return Err(ended(core));
        }
        Ok((Serving::new(self.life, self.state.confirmers), port))
    }
}
