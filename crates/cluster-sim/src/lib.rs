//! Checks of the whole protocol that need no real node: the model of the start-up
//! and drain protocol, and, with the feature `sim`, a simulated cluster.

pub mod model;
#[cfg(feature = "sim")]
pub mod sim;
