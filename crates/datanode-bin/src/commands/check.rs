//! `datanode check DIR`: looks a data directory over, offline, with the code
//! of the *check* stage. Never writes.

use std::path::PathBuf;

use crate::Failure;

/// Arguments of `datanode check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory (a `path` of `[[disk]]`).
    pub dir: PathBuf,
}

/// Checks the directory and prints what it found.
///
/// # Errors
/// [`Failure`] when something is damaged or the directory cannot be read.
pub fn run(_args: &Args) -> Result<(), Failure> {
    todo!()
}
