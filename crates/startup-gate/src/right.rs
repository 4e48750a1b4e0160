//! Rights as tokens. Only the gate makes them, and none can be copied: a
//! function that takes one cannot be called before the gate allows it, nor
//! twice for the same grant.

/// The right of one unit to take part in votes and to append, granted when its
/// vote and log are readable.
#[derive(Debug)]
#[must_use = "a right that is dropped is never exercised"]
pub struct VoteRight<U> {
    unit: U,
}

/// The right of one unit to campaign and to lead, granted when it is loaded and
/// checked and the whole node has passed its check stage.
#[derive(Debug)]
#[must_use = "a right that is dropped is never exercised"]
pub struct CampaignRight<U> {
    unit: U,
}

/// The right of the node to serve clients, granted when every unit is ready,
/// waived or quarantined.
#[derive(Debug)]
#[must_use = "a right that is dropped is never exercised"]
pub struct ServeRight {
    _minted: (),
}

impl<U> VoteRight<U> {
    pub(crate) fn mint(unit: U) -> Self {
        Self { unit }
    }

    /// The unit that holds the right.
    pub fn unit(&self) -> &U {
        &self.unit
    }
}

impl<U> CampaignRight<U> {
    pub(crate) fn mint(unit: U) -> Self {
        Self { unit }
    }

    /// The unit that holds the right.
    pub fn unit(&self) -> &U {
        &self.unit
    }
}

impl ServeRight {
    pub(crate) fn mint() -> Self {
        Self { _minted: () }
    }
}
