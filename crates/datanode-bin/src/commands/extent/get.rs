//! Fetching an extent.

use std::path::{Path, PathBuf};

use anyhow::Context;
use datanode_client::ExtentReader;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::Failure;

/// Writes what `reader` gives to stdout, or to a file that appears complete.
pub(super) async fn run(reader: ExtentReader, to: Option<&Path>) -> Result<(), Failure> {
    let Some(to) = to else { return copy(reader, tokio::io::stdout()).await };
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let name = partial.display().to_string();
    let file = tokio::fs::File::create(&partial).await.with_context(|| format!("create {name}"))?;
    let copied = copy(reader, file).await;
    if copied.is_err() {
        // The error that is told is the first one.
        let _ = tokio::fs::remove_file(&partial).await;
        return copied;
    }
    tokio::fs::rename(&partial, to).await.with_context(|| format!("rename {name}"))?;
    Ok(())
}

async fn copy(mut reader: ExtentReader, mut to: impl AsyncWrite + Unpin) -> Result<(), Failure> {
    while let Some(frame) = reader.next().await? {
        to.write_all(&frame.data).await.context("write the extent")?;
    }
    to.flush().await.context("write the extent")?;
    Ok(())
}
