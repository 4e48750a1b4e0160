//! Snapshots: a partition's whole state as a stream of chunks, and the way
//! such a stream becomes the state of another replica.
//!
//! ```text
//! stream  = header records* trailer        each a chunk with its own CRC-32C
//! records = (extent (run chunk?)*)* request*
//! ```
//!
//! A source is lazy: nothing is read before it is opened, and then from one
//! consistent view. A sink stages what it gets beside the current state; the
//! install switches to it at once or not at all.

mod format;
mod install;
mod item;
mod receive;
mod sink;
mod source;

#[cfg(test)]
mod tests;

pub use sink::{SnapshotSink, StagedSnapshot};
pub use source::{SnapshotReader, SnapshotSource};
