//! Units that come and go while the node serves.
use std::marker::PhantomData;

use crate::right::{CampaignRight, VoteRight};
use crate::stage::Stage;
use crate::unit::Unit;

/// The means to admit and to remove units while the node serves. Cheap to clone.
#[derive(Debug)]
pub struct Admission<U: Unit> {
    _unit: PhantomData<U>,
}

impl<U: Unit> Clone for Admission<U> {
    fn clone(&self) -> Self {
        Self { _unit: PhantomData }
    }
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
    /// Admits a unit that was made just now, complete and checked by its maker.
    ///
    /// # Errors
    /// The gate is not open, or knows the unit.
    pub fn admit(&self, _unit: U, _lane: usize) -> Result<Admitted<U>, NotAdmitted> {
        todo!()
    }

    /// Forgets a unit that was deleted; it may be admitted again. Returns
    /// whether the gate knew it.
    pub fn remove(&self, _unit: &U) -> bool {
        todo!()
    }
}
