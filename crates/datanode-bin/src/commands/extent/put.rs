//! Storing files.

use std::path::{Path, PathBuf};

use anyhow::Context;
use datanode_client::{Client, PartitionId};
use tokio::io::AsyncReadExt;

use super::show::{self, Stored};
use crate::output::Output;
use crate::{Exit, Failure};

/// Up to this size one message and one commit do, in bytes.
const PUT_LEN_MAX: u64 = 1 << 20;

/// Stores the files one after the other; what was stored before one fails is
/// printed all the same.
pub(super) async fn run(
    client: &Client,
    files: &[PathBuf],
    partition: Option<PartitionId>,
    output: Output,
) -> Result<(), Failure> {
    let partitions = match partition {
        Some(id) => vec![id],
        None => known(client).await?,
    };
    let mut rows = Vec::new();
    let mut failed = None;
    for (file, partition) in files.iter().zip(partitions.iter().cycle()) {
        match store(client, file, *partition).await {
            Ok(stored) => rows.push(stored),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    show::stored(output, &rows)?;
    failed.map_or(Ok(()), Err)
}

/// Every partition that has a leader, beginning at one by chance.
async fn known(client: &Client) -> Result<Vec<PartitionId>, Failure> {
    let routes = client.routes().await?;
    let mut ids: Vec<_> =
        routes.iter().filter(|route| route.leader.is_some()).map(|r| r.partition_id).collect();
    if ids.is_empty() {
        ids = routes.iter().map(|route| route.partition_id).collect();
    }
    if ids.is_empty() {
        let hint = "`datanode partition create` makes one";
        return Err(Failure::new(Exit::Failed, anyhow::anyhow!("there is no partition; {hint}")));
    }
    let chance = uuid::Uuid::now_v7().as_u128() % ids.len() as u128;
    ids.rotate_left(usize::try_from(chance).expect("less than a length"));
    Ok(ids)
}

async fn store(client: &Client, file: &Path, partition: PartitionId) -> Result<Stored, Failure> {
    let name = file.display().to_string();
    let stored = if file == Path::new("-") {
        store_stdin(client, partition).await?
    } else {
        let metadata = tokio::fs::metadata(file).await.with_context(|| format!("open {name}"))?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{name} is a directory")));
        }
        if metadata.is_file() && metadata.len() <= PUT_LEN_MAX {
            let data = tokio::fs::read(file).await.with_context(|| format!("read {name}"))?;
            client.put(partition, data.into()).await?
        } else {
            client.upload_file(partition, file).await?
        }
    };
    Ok(Stored::new(Some(name), partition, stored))
}

/// What is short is read first: it can then be sent again.
async fn store_stdin(
    client: &Client,
    partition: PartitionId,
) -> Result<datanode_client::Stored, Failure> {
    let mut stdin = tokio::io::stdin();
    let mut head = Vec::new();
    (&mut stdin).take(PUT_LEN_MAX + 1).read_to_end(&mut head).await.context("read stdin")?;
    if head.len() as u64 <= PUT_LEN_MAX {
        return Ok(client.put(partition, head.into()).await?);
    }
    let whole = std::io::Cursor::new(head).chain(stdin);
    Ok(client.upload_once(partition, whole).await?)
}
