//! `datanode trial`: proofs on real processes, for developers; hidden from
//! operators. `cargo xtask roll` and `cargo xtask bench` build the program and call it.

mod addresses;
mod check;
mod churn;
mod content;
mod disk;
mod figures;
mod fill;
mod idle;
mod ledger;
mod load;
mod machine;
mod overhead;
mod plant;
mod plot;
mod python;
mod record;
mod report;
mod roll;
mod rounds;
mod scrape;
mod snapshot;
mod startup;

use tokio::signal::unix::{SignalKind, signal};

use crate::{Exit, Failure};

/// Arguments of `datanode trial`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Restart every node of a cluster in turn, while clients read and write,
    /// and check what they saw.
    Roll(roll::Args),
    /// Measure what partitions cost that nobody uses.
    Idle(idle::Args),
    /// Time starts, by the number of partitions.
    Startup(startup::Args),
}

/// Runs it. Ctrl-C and SIGTERM end it, and its cluster with it.
///
/// # Errors
/// [`Failure`] when the cluster does not do what it should.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let work = async {
        match args.command {
            Command::Roll(args) => Box::pin(roll::run(args)).await,
            Command::Idle(args) => idle::run(args).await,
            Command::Startup(args) => startup::run(args).await,
        }
    };
    let interruption = || Failure::new(Exit::Failed, anyhow::anyhow!("interrupted"));
    tokio::select! {
        outcome = work => outcome,
        // Dropping the work ends its children.
        _ = interrupted.recv() => Err(interruption()),
        _ = terminated.recv() => Err(interruption()),
    }
}
