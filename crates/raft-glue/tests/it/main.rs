//! Groups of real stores over a network in memory.

mod cluster;
mod net;

mod election;
mod fence;
mod handover;
mod members;
mod propose;
mod restart;
