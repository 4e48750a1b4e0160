//! Names of the metrics of this crate, with unit and help.
//!
//! The gRPC ones are called as go-grpc-prometheus calls them, so that existing
//! dashboards work.

use metrics::{Counter, counter, describe_counter};

/// Calls finished on the server, by code.
pub(crate) const GRPC_HANDLED: &str = "grpc_server_handled_total";
/// From a call's first byte to its last trailer, in seconds.
pub(crate) const GRPC_HANDLING_SECONDS: &str = "grpc_server_handling_seconds";
/// Calls begun on the server.
pub(crate) const GRPC_STARTED: &str = "grpc_server_started_total";

/// 1, with the program's version as a label.
pub(crate) const BUILD_INFO: &str = "datanode_build_info";
/// 1 for the stage that the node is in, 0 for others; label `stage`.
pub(crate) const STARTUP_STAGE: &str = "datanode_startup_stage";
/// How long a stage of the start took, or has taken so far, in seconds; label `stage`.
pub(crate) const STARTUP_STAGE_DURATION: &str = "datanode_startup_stage_duration_seconds";
/// Partitions by how far their start has come; label `state`.
pub(crate) const STARTUP_PARTITIONS: &str = "datanode_startup_partitions";
/// 1 while the gate is open and the node is not draining.
pub(crate) const READY: &str = "datanode_ready";
/// Partitions that this node leads.
pub(crate) const PARTITION_LEADERS: &str = "datanode_partition_leaders";
/// The largest distance from committed to applied, in log entries.
pub(crate) const APPLY_LAG: &str = "datanode_raft_apply_lag_entries";

/// Memory that the databases of a disk take, in bytes; labels `disk`, and `kind`:
/// `memtables`, `table_readers` or `block_cache`.
pub(crate) const STORE_MEMORY: &str = "datanode_store_memory_bytes";
/// What compactions of a disk have still to rewrite, in bytes, as the engine estimates;
/// label `disk`.
pub(crate) const STORE_COMPACTION_PENDING: &str = "datanode_store_compaction_pending_bytes";

/// What was applied to the states of a disk since its last flush began, in bytes; label `disk`. A
/// start after a crash replays it, and what a flush that was cut off was at.
pub(crate) const STORE_UNFLUSHED: &str = "datanode_store_unflushed_bytes";

/// Messages sent to peers: batches on the Raft streams, and beats for sleeping groups.
pub(crate) const PEER_MESSAGES: &str = "datanode_peer_messages_total";
/// Raft calls in them.
pub(crate) const PEER_CALLS: &str = "datanode_peer_calls_total";

/// Peers by whether the Raft stream to them is open; label `state`.
pub(crate) const PEERS: &str = "datanode_peers";

/// Describes what is sent to peers, and makes its series at 0.
pub(crate) fn describe_peer() {
    describe_counter!(
        PEER_MESSAGES,
        "Messages sent to peers: batches on the Raft streams, and beats for sleeping groups."
    );
    describe_counter!(PEER_CALLS, "Raft calls sent to peers, many in one message.");
    drop((peer_messages(), peer_calls()));
}

/// The counter of messages.
pub(crate) fn peer_messages() -> Counter {
    counter!(PEER_MESSAGES)
}

/// The counter of calls in them.
pub(crate) fn peer_calls() -> Counter {
    counter!(PEER_CALLS)
}
