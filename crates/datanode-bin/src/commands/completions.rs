//! `datanode completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Cli, Failure};

/// Arguments of `datanode completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For which shell.
    pub shell: Shell,
}

/// Prints the script to stdout.
///
/// # Errors
/// None today; the signature is that of its siblings.
pub fn run(args: &Args) -> Result<(), Failure> {
    clap_complete::generate(args.shell, &mut Cli::command(), "datanode", &mut std::io::stdout());
    Ok(())
}
