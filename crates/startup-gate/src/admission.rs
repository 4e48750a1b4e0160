//! Units that come and go while the node serves.

use std::fmt;
use std::sync::Arc;

use crate::core::{Core, Grant};
use crate::machine::Event;
use crate::right::{CampaignRight, VoteRight};
use crate::stage::Stage;
use crate::unit::Unit;

/// The means to admit and to remove units while the node serves. Cheap to clone.
pub struct Admission<U: Unit> {
    core: Arc<Core<U>>,
}

/// The rights of a unit that was admitted while the node serves.
#[derive(Debug)]
#[must_use = "a right that is dropped is never exercised"]
pub struct Admitted<U> {
    /// Its right to vote.
    pub vote: VoteRight<U>,
    /// Its right to campaign.
    pub campaign: CampaignRight<U>,
}

/// Why a unit was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// The gate is not open.
    #[error("the node is {stage}, not serving")]
    NotServing {
        /// Where the node is instead.
        stage: Stage,
    },
    /// The gate knows the unit: it has its rights, or lost them by quarantine.
    #[error("the unit is known already")]
    Known,
}

impl<U: Unit> Admission<U> {
    pub(crate) fn new(core: Arc<Core<U>>) -> Self {
        Self { core }
    }

    /// Admits a unit that was made just now, complete and checked by its maker.
    ///
    /// A unit that was quarantined and is repaired is removed first, then
    /// admitted.
    ///
    /// # Errors
    /// The gate is not open, or knows the unit.
    pub fn admit(&self, unit: U, lane: usize) -> Result<Admitted<U>, NotAdmitted> {
        let mut granted = self.core.apply(Event::Admit(unit, lane)).into_iter();
        match (granted.next(), granted.next()) {
            (Some(Grant::Vote(vote)), Some(Grant::Campaign(campaign))) => Ok(Admitted {
                vote: VoteRight::mint(vote),
                campaign: CampaignRight::mint(campaign),
            }),
            _ => match self.core.with(|inner| inner.machine.stage()) {
                Stage::Serving => Err(NotAdmitted::Known),
                stage => Err(NotAdmitted::NotServing { stage }),
            },
        }
    }

    /// Forgets a unit that was deleted; it may be admitted again. Returns
    /// whether the gate knew it.
    pub fn remove(&self, unit: &U) -> bool {
        self.core.remove(unit)
    }
}

impl<U: Unit> Clone for Admission<U> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<U: Unit> fmt::Debug for Admission<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
