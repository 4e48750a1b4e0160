//! Names of the store's metrics, with unit and help, and handles that are made
//! once and held: looking one up costs more than the write it counts.

use std::time::Duration;

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

use crate::engine::Durability;

/// Time of one synced write of the log, by disk.
pub const FSYNC_SECONDS: &str = "datanode_store_fsync_seconds";
/// Bytes of keys and values handed to the engine, by kind: `log` or `data`.
pub(crate) const BYTES_WRITTEN: &str = "datanode_store_bytes_written_total";
/// Time of one flush of `data/`, by disk.
pub const FLUSH_SECONDS: &str = "datanode_store_flush_seconds";

/// Tells the recorder what the metrics mean.
pub(crate) fn describe() {
    describe_histogram!(FSYNC_SECONDS, Unit::Seconds, "Time of one synced write of the log.");
    describe_counter!(
        BYTES_WRITTEN,
        Unit::Bytes,
        "Bytes of keys and values handed to the storage engine."
    );
    describe_histogram!(FLUSH_SECONDS, Unit::Seconds, "Time of one flush of the states.");
}

/// Of a log writer.
pub(crate) struct WriterMetrics {
    fsync_seconds: Histogram,
    bytes: Counter,
}

impl WriterMetrics {
    pub(crate) fn new(disk: usize) -> Self {
        Self {
            fsync_seconds: histogram!(FSYNC_SECONDS, "disk" => disk.to_string()),
            bytes: counter!(BYTES_WRITTEN, "kind" => "log"),
        }
    }

    pub(crate) fn wrote(&self, len_bytes: usize, durability: Durability, took: Duration) {
        self.bytes.increment(len_bytes as u64);
        if durability == Durability::Synced {
            self.fsync_seconds.record(took);
        }
    }
}

/// Of what makes states durable.
pub(crate) struct FlushMetrics {
    flush_seconds: Histogram,
    bytes: Counter,
}

impl FlushMetrics {
    pub(crate) fn new(disk: usize) -> Self {
        Self {
            flush_seconds: histogram!(FLUSH_SECONDS, "disk" => disk.to_string()),
            bytes: counter!(BYTES_WRITTEN, "kind" => "data"),
        }
    }

    pub(crate) fn applied(&self, len_bytes: u64) {
        self.bytes.increment(len_bytes);
    }

    pub(crate) fn flushed(&self, took: Duration) {
        self.flush_seconds.record(took);
    }
}
