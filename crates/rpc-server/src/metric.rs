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
