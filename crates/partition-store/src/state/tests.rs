//! Tests of the state machine on an engine in memory.

mod model;
mod ops;
mod replica;
mod requests;
