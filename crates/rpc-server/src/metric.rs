//! Names of the metrics of this crate, with unit and help.
//!
//! The gRPC ones are called as go-grpc-prometheus calls them, so that existing
//! dashboards work.

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

/// Peers by whether the Raft stream to them is open; label `state`.
pub(crate) const PEERS: &str = "datanode_peers";
