//! The program from the outside.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]
#![allow(clippy::cast_possible_truncation, reason = "patterns of bytes, and small counts")]

mod config;
mod fixture;
mod node;

mod serve;

mod bad_input;
mod commands;
mod data;
mod demo;
mod foreign;
mod kill;
mod roll;
