//! The stage *load*, with the checks of single units: the ways into the
//! pipeline. How it runs is [`super::pipeline`]'s business, who is next the
//! machine's.

use std::collections::BTreeSet;
use std::future::{Future, ready};

use super::pipeline::{Pipeline, Work};
use super::{Check, Load, Startup, fail};
use crate::error::StartError;
use crate::fault::UnitFault;
use crate::machine::Event;
use crate::ticket::{CheckTicket, JoinTicket, LoadTicket};
use crate::unit::{Unit, UnitSpec};

impl<U: Unit> Startup<U, Load> {
    /// Loads and checks all units as a pipeline: bounded in each lane and
    /// overall, by priority, and no unit waits for another's check. `load`
    /// returns whatever `check` needs. Both run in tasks of the gate, one job after the
    /// other in each, as many at once as there are slots: a panic quarantines the
    /// unit, a stall or a deadline drops the future. A node without units passes at
    /// once.
    ///
    /// A unit votes from [`LoadTicket::log_readable`] on, so one that waits for
    /// a load slot does not vote yet. Units with a replicated log had better
    /// come through [`Startup::load_joined`].
    ///
    /// Blocking work belongs into `tokio::task::spawn_blocking`; it cannot be
    /// dropped, so it should ask [`Progress::is_withdrawn`](crate::Progress::is_withdrawn)
    /// now and then. A thread that never returns keeps running beside the
    /// lane's next unit.
    ///
    /// # Errors
    /// [`StartError::Cancelled`]; [`StartError::DuplicateUnit`]. Faults of units
    /// are no error here: [`Startup::check`] decides about them.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the start.
    pub async fn load<T, L, LF, C, CF>(
        self,
        units: impl IntoIterator<Item = UnitSpec<U>>,
        load: L,
        check: C,
    ) -> Result<Startup<U, Check>, StartError>
    where
        T: Send + 'static,
        L: Fn(LoadTicket<U>) -> LF + Send + Sync + 'static,
        LF: Future<Output = Result<T, UnitFault>> + Send + 'static,
        C: Fn(CheckTicket<U>, T) -> CF + Send + Sync + 'static,
        CF: Future<Output = Result<(), UnitFault>> + Send + 'static,
    {
        let units = self.distinct(units)?;
        // Nothing to join: as if all were, and had left nothing for the load.
        let joined = units.iter().map(|spec| (spec.unit.clone(), ())).collect();
        let work = Work {
            join: |_: JoinTicket<U>| ready(Ok(())),
            load: move |ticket, ()| load(ticket),
            check,
        };
        let pipeline = Pipeline::new(&self.life.core, work, joined);
        self.through(Event::Begin(units), pipeline.run()).await
    }

    /// Like [`Startup::load`], but joins each unit before it loads it: `join`
    /// opens the unit's vote and log, a few point reads, takes its
    /// [`VoteRight`](crate::VoteRight) from [`JoinTicket::log_readable`] and
    /// begins to vote. What it returns is handed to `load`, and what that
    /// returns to `check`.
    ///
    /// Joins have slots of their own ([`Config::join_concurrency`](crate::Config::join_concurrency))
    /// and run beside loads and checks, by the same priorities: a unit votes
    /// however many slow loads stand before its own. Lanes, stalls, deadlines
    /// and quarantine cover them like loads. A unit whose load or check fails
    /// after it joined is quarantined and keeps its right to vote.
    ///
    /// A join may return without the right: the unit is loaded, checked and may
    /// campaign like any other, but it does not vote, and
    /// [`Report::voting_ms`](crate::Report::voting_ms) stays empty.
    ///
    /// # Errors
    /// [`StartError::Cancelled`]; [`StartError::DuplicateUnit`]. Faults of units
    /// are no error here: [`Startup::check`] decides about them.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the start. Rights that were taken stay with
    /// their takers: whoever votes by them must stop by himself.
    pub async fn load_joined<J, T, P, PF, L, LF, C, CF>(
        self,
        units: impl IntoIterator<Item = UnitSpec<U>>,
        join: P,
        load: L,
        check: C,
    ) -> Result<Startup<U, Check>, StartError>
    where
        J: Send + 'static,
        T: Send + 'static,
        P: Fn(JoinTicket<U>) -> PF + Send + Sync + 'static,
        PF: Future<Output = Result<J, UnitFault>> + Send + 'static,
        L: Fn(LoadTicket<U>, J) -> LF + Send + Sync + 'static,
        LF: Future<Output = Result<T, UnitFault>> + Send + 'static,
        C: Fn(CheckTicket<U>, T) -> CF + Send + Sync + 'static,
        CF: Future<Output = Result<(), UnitFault>> + Send + 'static,
    {
        let units = self.distinct(units)?;
        let work = Work { join, load, check };
        let pipeline = Pipeline::new(&self.life.core, work, [].into());
        self.through(Event::BeginJoining(units), pipeline.run()).await
    }

    fn distinct(
        &self,
        units: impl IntoIterator<Item = UnitSpec<U>>,
    ) -> Result<Vec<UnitSpec<U>>, StartError> {
        let units: Vec<_> = units.into_iter().collect();
        let mut names = BTreeSet::new();
        if let Some(twice) = units.iter().find(|spec| !names.insert(&spec.unit)) {
            let unit = twice.unit.to_string();
            return Err(fail(&self.life.core, StartError::DuplicateUnit { unit }));
        }
        Ok(units)
    }

    async fn through(
        self,
        begin: Event<U>,
        pipeline: impl Future<Output = Result<(), StartError>>,
    ) -> Result<Startup<U, Check>, StartError> {
        self.life.core.apply(begin);
        pipeline.await?;
        Ok(Startup { life: self.life, state: Check(()) })
    }
}
