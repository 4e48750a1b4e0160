//! Tests of the store as its users see it, on real directories.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod fixture;
mod ops;

mod crash;
mod disks;
mod group_commit;
mod identity;
mod log;
mod log_model;
mod mark;
mod options;
mod partitions;
mod snapshot;
mod state;
