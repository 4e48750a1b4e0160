//! Checks of the whole protocol that need no real node: the model of the start-up
//! and drain protocol, and, with the feature `sim`, a simulated cluster.

pub mod model;
#[cfg(feature = "sim")]
pub mod sim;

/// The simulator's judge needs nothing of the simulator: it is tested with
/// everything else.
#[cfg(all(test, not(feature = "sim")))]
#[path = "sim/ledger.rs"]
#[allow(dead_code)]
mod ledger;
