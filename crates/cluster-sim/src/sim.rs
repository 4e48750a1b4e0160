//! A cluster in one process: the product's host, fence, gate and store, over a
//! simulated network, clock and disks. Everything that happens follows from one
//! seed, so what went wrong once goes wrong again.
//!
//! What is real: raft-glue, startup-gate, partition-store above its engine. What
//! is not: RocksDB (a disk in memory that loses what was not synced), the wire
//! (messages are handed over as they are), the program's own configuration.

mod chance;
mod client;
mod fault;
mod invariant;
mod ledger;
mod link;
mod log;
mod node;
mod owner;
mod pace;
mod peers;
mod report;
mod run;
mod scale;
mod serve;
mod wire;
mod world;

pub use report::{Counts, Report};
pub use run::{Plan, run};
pub use scale::{Figure, ScalePlan, ScaleReport, run_scale};
pub use world::Violation;
