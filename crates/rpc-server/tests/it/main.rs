//! Whole nodes in one process: real stores, real groups, real sockets.

mod bad_input;
mod cluster;
mod extents;
mod forward;
mod limits;
mod pages;
mod partitions;
mod probes;
mod routes;
mod stop_token;
mod upload;
