//! The root of the command line: which subcommands there are. What each does
//! is in [`crate::commands`], [`crate::serve`], [`crate::demo`] and [`crate::trial`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{Failure, commands, demo, exit, serve, trial};

/// Replicated partition store: Raft groups on RocksDB, served over gRPC.
#[derive(Debug, Parser)]
#[command(name = "datanode", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node.
    Serve(serve::Args),
    /// Run a whole cluster on loopback ports, to try things out.
    Demo(demo::Args),
    /// Show a row for each node.
    Status(commands::status::Args),
    /// Show the start-up report of a node.
    Startup(commands::startup::Args),
    /// Wait until a node serves clients.
    WaitReady(commands::wait_ready::Args),
    /// Create, list, show, delete and move partitions.
    Partition(commands::partition::Args),
    /// Store, fetch, list, seal and delete extents.
    Extent(commands::extent::Args),
    /// Take a node out of service: not ready, and every leadership handed over.
    Drain(commands::drain::Args),
    /// Restart a cluster node by node.
    Roll(commands::roll::Args),
    /// Check a data directory offline.
    Check(commands::check::Args),
    /// Print, check and explain the configuration.
    Config(commands::config::Args),
    /// Print a completion script for a shell.
    Completions(commands::completions::Args),
    /// Ask a node whether it is ready; for container health checks.
    Healthcheck(commands::healthcheck::Args),
    /// Prove something on real processes; for developers.
    #[command(hide = true)]
    Trial(trial::Args),
}

/// Reads the command line of the process.
///
/// # Errors
/// The exit code, after clap has printed its message: 0 for `--help` and
/// `--version`, 2 for bad usage.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // Nothing is left to do when even stderr is closed.
        let _ = error.print();
        if error.use_stderr() {
            ExitCode::from(exit::Exit::Usage.code())
        } else {
            ExitCode::SUCCESS
        }
    })
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// [`Failure`] with the exit code it deserves.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Check(args) => commands::check::run(&args),
            Command::Config(args) => commands::config::run(args),
            Command::Completions(args) => commands::completions::run(&args),
            Command::Demo(args) => block_on(demo::run(args)),
            Command::Status(args) => block_on(commands::status::run(args)),
            Command::Startup(args) => block_on(commands::startup::run(args)),
            Command::WaitReady(args) => block_on(commands::wait_ready::run(args)),
            Command::Partition(args) => block_on(commands::partition::run(args)),
            Command::Extent(args) => block_on(commands::extent::run(args)),
            Command::Drain(args) => block_on(commands::drain::run(args)),
            Command::Roll(args) => block_on(commands::roll::run(args)),
            Command::Healthcheck(args) => block_on(commands::healthcheck::run(args)),
            Command::Trial(args) => block_on(trial::run(args)),
        }
    }
}

/// Runs a client-side command.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
