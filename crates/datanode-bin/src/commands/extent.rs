//! `datanode extent`: files in and out.

mod get;
mod put;
mod show;

use std::path::PathBuf;

use clap::Subcommand;
use datanode_client::{ExtentId, PartitionId};

use super::connect::ClientArgs;
use crate::Failure;
use crate::output::Output;

/// Arguments of `datanode extent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Store files, each as a sealed extent.
    Put {
        /// The files; `-` is stdin.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// In which partition; in one of those there are, unless given.
        #[arg(long, value_name = "ID")]
        partition: Option<PartitionId>,
    },
    /// Write an extent to stdout, or to a file.
    Get {
        #[command(flatten)]
        extent: Extent,
        /// Where to begin, in bytes.
        #[arg(long, default_value_t = 0, value_name = "BYTES")]
        offset: u64,
        /// How much, in bytes; to the end, unless given.
        #[arg(long, value_name = "BYTES")]
        length: Option<u64>,
        /// Write to this file, which appears when it is complete.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Describe an extent.
    Stat {
        #[command(flatten)]
        extent: Extent,
    },
    /// List the extents of a partition.
    List {
        /// Which partition.
        partition: PartitionId,
    },
    /// End all writing to an extent.
    Seal {
        #[command(flatten)]
        extent: Extent,
    },
    /// Delete extents.
    Delete {
        /// Their partition.
        partition: PartitionId,
        /// Which extents.
        #[arg(required = true, value_name = "EXTENT")]
        extents: Vec<ExtentId>,
    },
}

/// Names an extent.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Extent {
    /// Its partition.
    partition: PartitionId,
    /// Its id in there.
    extent: ExtentId,
}

/// Does what was asked.
///
/// # Errors
/// [`Failure`] with the exit code it deserves.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Args { verb, client, output } = args;
    let client = client.client()?;
    match verb {
        Verb::Put { files, partition } => put::run(&client, &files, partition, output).await,
        Verb::Get { extent, offset, length, to } => {
            let reader = client.read(extent.partition, extent.extent);
            let reader = match length {
                Some(length) => reader.range(offset..offset.saturating_add(length)),
                None => reader.from(offset),
            };
            get::run(reader, to.as_deref()).await
        }
        Verb::Stat { extent } => {
            let info = client.stat(extent.partition, extent.extent).await?;
            show::infos(output, extent.partition, vec![info])
        }
        Verb::List { partition } => show::infos(output, partition, client.list(partition).await?),
        Verb::Seal { extent } => {
            let stored = client.seal(extent.partition, extent.extent).await?;
            show::stored(output, &[show::Stored::new(None, extent.partition, stored)])
        }
        Verb::Delete { partition, extents } => {
            let deleted = client.delete(partition, &extents).await?;
            show::deleted(output, partition, &deleted)
        }
    }
}
