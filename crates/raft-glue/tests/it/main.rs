//! Groups of real stores over a network in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod net;

mod balance;
mod election;
mod fence;
mod handover;
mod members;
mod ondemand;
mod propose;
mod rejoin;
mod removed;
mod replicate;
mod restart;
mod sleep;
mod waking;
