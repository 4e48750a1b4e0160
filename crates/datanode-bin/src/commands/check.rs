//! `datanode check DIR`: looks a data directory over, offline, with the code
//! of the *check* stage, every checksum included. Never writes.

use std::error::Error;
use std::path::PathBuf;

use anyhow::anyhow;
use partition_store::{CheckError, CheckReport, Store};
use serde_json::{Value, json};

use crate::output::{Output, Rows, bytes};
use crate::{Exit, Failure};

/// Arguments of `datanode check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory (a `path` of `[[disk]]`).
    pub dir: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Checks the directory and prints what it found.
///
/// # Errors
/// [`Failure`] with the store's exit code when the directory cannot be opened,
/// 1 when a partition is damaged.
pub fn run(args: &Args) -> Result<(), Failure> {
    let report = Store::check_dir(&args.dir);
    if let Some(fault) = report.fault {
        return Err(Failure::new(Exit::Store(fault.exit_code()), fault));
    }
    args.output.print(&as_json(&report), |_| rows(&report))?;
    let damaged = report.partitions.iter().filter(|(_, result)| result.is_err()).count();
    if damaged == 0 {
        return Ok(());
    }
    let all = report.partitions.len();
    Err(Failure::new(Exit::Failed, anyhow!("{damaged} of {all} partitions are damaged")))
}

fn rows(report: &CheckReport) -> Rows {
    let mut rows = Rows::new(&[">PARTITION", ">ENTRIES", ">EXTENTS", ">CHUNKS", ">SIZE", "RESULT"]);
    for (id, result) in &report.partitions {
        match result {
            Ok(checked) => rows.push([
                id.to_string(),
                checked.entries.to_string(),
                checked.extents.to_string(),
                checked.chunks.to_string(),
                bytes(checked.chunk_bytes),
                "ok".to_owned(),
            ]),
            Err(error) => {
                let unknown = String::new;
                let damage = with_causes(error);
                rows.push([id.to_string(), unknown(), unknown(), unknown(), unknown(), damage]);
            }
        }
    }
    rows
}

fn as_json(report: &CheckReport) -> Value {
    let partitions: Vec<Value> = report
        .partitions
        .iter()
        .map(|(id, result)| match result {
            Ok(checked) => json!({
                "partition_id": id.get(),
                "sound": true,
                "entries": checked.entries,
                "extents": checked.extents,
                "chunks": checked.chunks,
                "chunk_bytes": checked.chunk_bytes,
            }),
            Err(error) => json!({
                "partition_id": id.get(),
                "sound": false,
                "damage": with_causes(error),
            }),
        })
        .collect();
    json!({
        "path": report.path,
        "sound": report.is_sound(),
        "partitions": partitions,
    })
}

fn with_causes(error: &CheckError) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
