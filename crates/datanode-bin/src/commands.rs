//! The subcommands that talk to running nodes or to files; one file each.

pub mod check;
pub mod completions;
pub mod config;
pub mod drain;
pub mod extent;
pub mod healthcheck;
pub mod partition;
pub mod startup;
pub mod status;
pub mod wait_ready;
