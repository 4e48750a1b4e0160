//! The `datanode` program: one binary, its subcommands, and the wiring of a
//! node. Thin by design: what a node *does* is in the crates it wires up.

mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
mod cpu;
pub mod demo;
pub mod exit;
pub mod output;
mod progress;
pub mod serve;
mod systemd;
mod telemetry;
pub mod trial;

use std::process::ExitCode;

pub use cli::{Cli, Command};
pub use exit::{Exit, Failure};

/// Runs the program on the arguments of the process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report().into(),
    }
}
