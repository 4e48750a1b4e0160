//! Storing the tree: many files at once, each in a partition of its own turn.

use std::sync::Mutex;

use datanode_client::{Client, ExtentId, PartitionId};
use futures::{StreamExt, stream};
use indicatif::ProgressBar;

use super::collect::SourceFile;
use super::record::Faults;

/// How many files are on their way at once.
pub(super) const AT_ONCE: usize = 12;
/// Up to this size a file is one message and one commit, in bytes.
const PUT_LEN_MAX: u64 = 1 << 20;

/// A file and where it went.
#[derive(Debug, Clone)]
pub(super) struct StoredFile {
    pub(super) source: SourceFile,
    pub(super) partition_id: PartitionId,
    pub(super) extent_id: ExtentId,
}

/// Stores them all. A file that cannot be stored is among the faults.
pub(super) async fn store(
    client: &Client,
    files: Vec<SourceFile>,
    partitions: &[PartitionId],
    faults: &Mutex<Faults>,
    bar: &ProgressBar,
) -> Vec<StoredFile> {
    stream::iter(files.into_iter().zip(partitions.iter().cycle()))
        .map(|(source, partition_id)| async move {
            let stored = store_one(client, &source, *partition_id).await;
            bar.inc(source.len_bytes);
            match stored {
                Ok(extent_id) => {
                    Some(StoredFile { source, partition_id: *partition_id, extent_id })
                }
                Err(fault) => {
                    faults.lock().expect("no panics under it").client_error(&fault);
                    None
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |stored| stored)
        .collect()
        .await
}

async fn store_one(
    client: &Client,
    source: &SourceFile,
    partition_id: PartitionId,
) -> anyhow::Result<ExtentId> {
    let stored = if source.len_bytes <= PUT_LEN_MAX {
        let data = tokio::fs::read(&source.path).await?;
        client.put(partition_id, data.into()).await?
    } else {
        client.upload_file(partition_id, &source.path).await?
    };
    Ok(stored.extent_id)
}
