//! The client against nodes that answer what a script says.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod fake;

mod connect;
mod read;
mod retry;
mod upload;
