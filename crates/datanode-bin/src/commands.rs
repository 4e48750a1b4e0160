//! The subcommands that talk to running nodes or to files; one file each.

pub mod check;
pub mod completions;
pub mod config;
mod connect;
pub mod drain;
pub mod extent;
pub mod healthcheck;
mod nodes;
pub mod partition;
pub mod roll;
pub mod startup;
pub mod status;
pub mod wait_ready;
mod words;
