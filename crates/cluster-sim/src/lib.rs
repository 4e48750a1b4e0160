//! Checks of the whole protocol that need no real node: the model of the start-up
//! and drain protocol, and, with the feature `sim`, a simulated cluster.

pub mod model;
#[cfg(feature = "sim")]
pub mod sim;

// What needs nothing of the simulator is tested with everything else: its judge, and
// what it counts and compares at scale.
#[cfg(all(test, not(feature = "sim")))]
#[path = "sim/ledger.rs"]
#[allow(dead_code)]
mod ledger;
#[cfg(all(test, not(feature = "sim")))]
#[path = "sim/scale/model.rs"]
#[allow(dead_code)]
mod scale_model;
#[cfg(all(test, not(feature = "sim")))]
#[path = "sim/scale/report.rs"]
#[allow(dead_code, unreachable_pub)]
mod scale_report;
#[cfg(all(test, not(feature = "sim")))]
#[path = "sim/scale/traffic.rs"]
#[allow(dead_code)]
mod scale_traffic;
