//! `datanode trial`: proofs on real processes, for developers; hidden from
//! operators. `cargo xtask roll` and `cargo xtask bench` build the program and call it.

mod addresses;
mod check;
mod churn;
mod content;
mod figures;
mod idle;
mod ledger;
mod load;
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

use crate::Failure;

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

/// Runs it.
///
/// # Errors
/// [`Failure`] when the cluster does not do what it should.
pub async fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Roll(args) => roll::run(args).await,
        Command::Idle(args) => idle::run(args).await,
        Command::Startup(args) => startup::run(args).await,
    }
}
