//! `datanode demo`: a cluster of real `serve` child processes on loopback. To
//! look around in, or, with `--from DIR`, to store a tree of real files in, read
//! it back, and do that again while every node is restarted under load.

pub(crate) mod bar;
pub(crate) mod chance;
mod collect;
mod compare;
mod job;
mod load;
mod record;
mod report;
mod restarts;
pub(crate) mod stage;
mod store;

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::output::bytes;
use crate::{Exit, Failure};

use collect::Limits;
use stage::Stage;

/// Arguments of `datanode demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// How many partitions; each has three replicas where there are three nodes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    partitions: u64,
    /// Where the nodes keep configuration, logs and data; taken up again when
    /// it holds an earlier demo. Without it, a temporary directory that is
    /// removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Store the files below this directory, read them back, restart every
    /// node under load, and read everything again. Of a Rust sysroot: `lib`
    /// whole, and of `share` up to 2,000 files and 800 MiB in all.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// At most so many files.
    #[arg(long, value_name = "N", requires = "from")]
    limit_files: Option<usize>,
    /// At most so many bytes in all, such as `200MiB`.
    #[arg(long, value_name = "BYTES", requires = "from")]
    limit_bytes: Option<bytesize::ByteSize>,
    /// Print the result as one JSON object, too, in the last line.
    #[arg(long, requires = "from")]
    json: bool,
    /// Leave the cluster running at the end.
    #[arg(long, requires = "from")]
    keep: bool,
}

/// Runs it. Ctrl-C and SIGTERM end it, and the cluster with it.
///
/// # Errors
/// [`Failure`] when the cluster does not do what it should: a byte that is not
/// what it was, or an error that a client was left with.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! {
            _ = interrupted.recv() => (),
            _ = terminated.recv() => (),
        }
    };
    tokio::pin!(stop);
    let Some(from) = args.from else {
        let stage = tokio::select! {
            stage = Stage::set(args.nodes, args.partitions, args.dir, Vec::new()) => stage?,
            () = &mut stop => return Err(interruption()),
        };
        stage.announce("Ctrl-C drains and stops.")?;
        stop.await;
        return stage.clear().await;
    };
    let limits = Limits { files: args.limit_files, bytes: args.limit_bytes.map(|limit| limit.0) };
    // Reading directories blocks; nothing else runs yet.
    let tree = collect::collect(&from, limits)?;
    if tree.files.is_empty() {
        return Err(Failure::usage(format!("there are no files in {}", from.display())));
    }
    let work = async {
        let mut stage = Stage::set(args.nodes, args.partitions, args.dir, Vec::new()).await?;
        let report = job::run(&mut stage, tree).await?;
        finish(stage, &report, args.json, args.keep).await
    };
    tokio::select! {
        outcome = work => outcome,
        // Dropping the work ends its children.
        () = stop => Err(interruption()),
    }
}

/// Prints the report; its verdict is the exit code.
async fn finish(
    stage: Stage,
    report: &report::Report,
    json: bool,
    keep: bool,
) -> Result<(), Failure> {
    report.print()?;
    if keep {
        stage.keep()?;
    } else if report.verdict().is_ok() {
        stage.clear().await?;
    } else {
        stage.leave_files();
    }
    if json {
        report.print_json()?;
    }
    report.verdict()
}

fn interruption() -> Failure {
    Failure::new(Exit::Failed, anyhow::anyhow!("interrupted"))
}

/// `1,234 files, 517.3 MiB`.
fn amount(files: usize, len_bytes: u64) -> String {
    format!("{} files, {}", indicatif::HumanCount(files as u64), bytes(len_bytes))
}
