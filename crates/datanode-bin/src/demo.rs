//! `datanode demo`.

use crate::Failure;

/// Arguments of `datanode demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// [`Failure`] with the exit code it deserves.
pub async fn run(_args: Args) -> Result<(), Failure> {
    todo!()
}
