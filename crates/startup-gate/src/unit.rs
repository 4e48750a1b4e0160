//! Units: what a node loads, checks and confirms one by one.

use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;

use crate::fault::UnitFault;

/// The name of a unit: a partition id, a tenant, a shard. Implemented for
/// every type that fits.
pub trait Unit: Clone + Eq + Ord + Hash + Display + Debug + Send + Sync + 'static {}

impl<T: Clone + Eq + Ord + Hash + Display + Debug + Send + Sync + 'static> Unit for T {}

/// How early a waiting unit is taken: higher first, then the order in which
/// units were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Priority(pub u8);

impl Priority {
    /// Nobody asks for it.
    pub const REST: Self = Self(0);
    /// It was busy not long ago.
    pub const HOT: Self = Self(64);
    /// A client waits for it.
    pub const AWAITED: Self = Self(128);
    /// Its quorum is incomplete without this node.
    pub const QUORUM: Self = Self(192);
}

/// A unit and where it is to be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnitSpec<U> {
    /// Its name.
    pub unit: U,
    /// The resource that bounds its work, e.g. the index of its disk.
    pub lane: usize,
    /// How early it is taken.
    pub priority: Priority,
}

impl<U> UnitSpec<U> {
    /// A unit in lane 0 with [`Priority::REST`].
    pub fn new(unit: U) -> Self {
        Self { unit, lane: 0, priority: Priority::REST }
    }

    /// Puts the unit in another lane.
    #[must_use]
    pub fn lane(mut self, lane: usize) -> Self {
        self.lane = lane;
        self
    }

    /// Gives the unit another priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// How far one unit has come.
///
/// ```text
/// Waiting ─────────────────→ Loading → Loaded → Checking → Checked → Electing → Ready
///    └→ Joining → Joined ───────┘                             │         ├→ Waived → Ready
///  faults, in any state: → Quarantined                    barrier      └→ Deferred → Ready
/// ```
///
/// [`Startup::load`](crate::Startup::load) goes straight to its loads,
/// [`Startup::load_joined`](crate::Startup::load_joined) passes the lower row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnitState {
    /// In the queue for its first slot: to join if the start joins, else to load.
    Waiting,
    /// Being joined: its vote and log are opened.
    Joining,
    /// Joined: votes if its log was readable; in the queue for a load slot of its lane.
    Joined,
    /// Being loaded.
    Loading,
    /// In the queue for a check slot of its lane.
    Loaded,
    /// Being checked.
    Checking,
    /// Good; waits for the others at the barrier.
    Checked,
    /// May campaign; not confirmed yet.
    Electing,
    /// Confirmed.
    Ready,
    /// Not confirmed in time; the gate opens without it and goes on asking.
    Waived {
        /// What it last waited for.
        reason: Arc<str>,
    },
    /// Nobody needs it, so its confirmation waits until somebody does: loaded, checked
    /// and allowed to campaign like any other. A strict gate has none.
    Deferred,
    /// Kept out: it never campaigns and never serves.
    Quarantined {
        /// Why.
        fault: UnitFault,
    },
}

impl UnitState {
    /// The state's word, as used in reports and metric labels.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Joining => "joining",
            Self::Joined => "joined",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Checking => "checking",
            Self::Checked => "checked",
            Self::Electing => "electing",
            Self::Ready => "ready",
            Self::Waived { .. } => "waived",
            Self::Deferred => "deferred",
            Self::Quarantined { .. } => "quarantined",
        }
    }

    /// Whether the gate need not wait for this unit any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Ready | Self::Waived { .. } | Self::Deferred | Self::Quarantined { .. }
        )
    }

    /// Whether its load is not finished.
    #[must_use]
    pub fn is_before_loaded(&self) -> bool {
        matches!(self, Self::Waiting | Self::Joining | Self::Joined | Self::Loading)
    }

    /// Whether its load and its check are not both finished.
    #[must_use]
    pub fn is_before_barrier(&self) -> bool {
        self.is_before_loaded() || matches!(self, Self::Loaded | Self::Checking)
    }
}

impl Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many units are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Counts {
    /// Units in [`UnitState::Waiting`].
    pub waiting: usize,
    /// Units in [`UnitState::Joining`].
    pub joining: usize,
    /// Units in [`UnitState::Joined`].
    pub joined: usize,
    /// Units in [`UnitState::Loading`].
    pub loading: usize,
    /// Units in [`UnitState::Loaded`].
    pub loaded: usize,
    /// Units in [`UnitState::Checking`].
    pub checking: usize,
    /// Units in [`UnitState::Checked`].
    pub checked: usize,
    /// Units in [`UnitState::Electing`].
    pub electing: usize,
    /// Units in [`UnitState::Ready`].
    pub ready: usize,
    /// Units in [`UnitState::Waived`].
    pub waived: usize,
    /// Units in [`UnitState::Deferred`].
    pub deferred: usize,
    /// Units in [`UnitState::Quarantined`].
    pub quarantined: usize,
}

impl Counts {
    /// All units.
    #[must_use]
    pub fn total(&self) -> usize {
        self.before_loaded()
            + self.loaded
            + self.checking
            + self.checked
            + self.electing
            + self.ready
            + self.waived
            + self.deferred
            + self.quarantined
    }

    /// Units whose load is not finished, see [`UnitState::is_before_loaded`].
    pub(crate) fn before_loaded(&self) -> usize {
        self.waiting + self.joining + self.joined + self.loading
    }

    pub(crate) fn slot(&mut self, state: &UnitState) -> &mut usize {
        match state {
            UnitState::Waiting => &mut self.waiting,
            UnitState::Joining => &mut self.joining,
            UnitState::Joined => &mut self.joined,
            UnitState::Loading => &mut self.loading,
            UnitState::Loaded => &mut self.loaded,
            UnitState::Checking => &mut self.checking,
            UnitState::Checked => &mut self.checked,
            UnitState::Electing => &mut self.electing,
            UnitState::Ready => &mut self.ready,
            UnitState::Waived { .. } => &mut self.waived,
            UnitState::Deferred => &mut self.deferred,
            UnitState::Quarantined { .. } => &mut self.quarantined,
        }
    }
}
