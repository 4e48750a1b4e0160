//! Extents as rows.

use datanode_client::{Crc32c, ExtentId, ExtentInfo, PartitionId};
use serde::Serialize;

use crate::Failure;
use crate::output::{Output, Rows, bytes, time};

/// A whole, sealed extent.
#[derive(Debug, Serialize)]
pub(super) struct Stored {
    partition_id: u64,
    extent_id: u64,
    /// In bytes.
    size: u64,
    crc32c: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Stored {
    pub(super) fn new(
        file: Option<String>,
        partition: PartitionId,
        stored: datanode_client::Stored,
    ) -> Self {
        Self {
            partition_id: partition.get(),
            extent_id: stored.extent_id.get(),
            size: stored.size,
            crc32c: stored.crc32c.get(),
            file,
        }
    }
}

/// Prints what was stored or sealed.
pub(super) fn stored(output: Output, stored: &[Stored]) -> Result<(), Failure> {
    output.print(&stored, |stored| {
        let mut rows = Rows::new(&[">PARTITION", ">EXTENT", ">SIZE", "CRC-32C", "FILE"]);
        for row in stored.iter() {
            rows.push([
                row.partition_id.to_string(),
                row.extent_id.to_string(),
                row.size.to_string(),
                Crc32c::from_u32(row.crc32c).to_string(),
                row.file.clone().unwrap_or_default(),
            ]);
        }
        rows
    })?;
    Ok(())
}

#[derive(Debug, Serialize)]
struct Info {
    partition_id: u64,
    extent_id: u64,
    /// In bytes.
    size: u64,
    sealed: bool,
    crc32c: Option<u32>,
    created_at: String,
    modified_at: String,
}

/// Prints descriptions.
pub(super) fn infos(
    output: Output,
    partition: PartitionId,
    infos: Vec<ExtentInfo>,
) -> Result<(), Failure> {
    let infos: Vec<Info> = infos
        .into_iter()
        .map(|info| Info {
            partition_id: partition.get(),
            extent_id: info.extent_id.get(),
            size: info.size,
            sealed: info.sealed,
            crc32c: info.crc32c.map(Crc32c::get),
            created_at: time(info.created_at),
            modified_at: time(info.modified_at),
        })
        .collect();
    output.print(&infos, |infos| {
        let mut rows = Rows::new(&[
            ">PARTITION",
            ">EXTENT",
            ">SIZE",
            "SEALED",
            "CRC-32C",
            "CREATED",
            "MODIFIED",
        ]);
        for info in infos {
            rows.push([
                info.partition_id.to_string(),
                info.extent_id.to_string(),
                bytes(info.size),
                (if info.sealed { "yes" } else { "no" }).to_owned(),
                info.crc32c.map(|sum| Crc32c::from_u32(sum).to_string()).unwrap_or_default(),
                info.created_at.clone(),
                info.modified_at.clone(),
            ]);
        }
        rows
    })?;
    Ok(())
}

#[derive(Debug, Serialize)]
struct Deleted {
    partition_id: u64,
    extent_id: u64,
    /// Whether it was there.
    deleted: bool,
}

/// Prints what became of each; fails when one was not there.
pub(super) fn deleted(
    output: Output,
    partition: PartitionId,
    results: &[(ExtentId, bool)],
) -> Result<(), Failure> {
    let rows: Vec<Deleted> = results
        .iter()
        .map(|(id, deleted)| Deleted {
            partition_id: partition.get(),
            extent_id: id.get(),
            deleted: *deleted,
        })
        .collect();
    output.print(&rows, |deleted| {
        let mut rows = Rows::new(&[">PARTITION", ">EXTENT", "RESULT"]);
        for row in deleted {
            let result = if row.deleted { "deleted" } else { "not found" };
            rows.push([row.partition_id.to_string(), row.extent_id.to_string(), result.to_owned()]);
        }
        rows
    })?;
    let absent = rows.iter().filter(|row| !row.deleted).count();
    if absent > 0 {
        return Err(anyhow::anyhow!("{absent} of {} extents were not there", rows.len()).into());
    }
    Ok(())
}
