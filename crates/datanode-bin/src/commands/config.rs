//! `datanode config`: the configuration, printed, checked and explained.

use crate::Failure;

/// Arguments of `datanode config`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// [`Failure`] with the exit code it deserves.
pub fn run(_args: Args) -> Result<(), Failure> {
    todo!()
}
