//! The program from the outside.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]
#![allow(clippy::cast_possible_truncation, reason = "patterns of bytes, and small counts")]

mod config;
mod damage;
mod fixture;
mod node;
mod ondemand;
mod probe;

mod serve;
mod signals_seen;

mod cold;
mod disks;
mod gate;
mod orphan;
mod quarantine;
mod signals;
mod wiped;

mod bad_input;
mod commands;
mod data;
mod demo;
mod drain;
mod flood;
mod foreign;
mod kill;
mod pause;
mod roll;
mod trial;
