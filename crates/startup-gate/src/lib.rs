//! Sequences **load → check → elect → listen**, and the same list backwards on
//! the way down, for services that host many units of state. Nothing leads and
//! nothing is served before it is ready.
//!
//! # The way up
//!
//! | method | type before | grants | ends when |
//! |---|---|---|---|
//! | [`Startup::load`], or [`Startup::load_joined`] | `Startup<U, Load>` | [`VoteRight`]s | every unit is loaded and checked, or quarantined |
//! | [`Startup::check`] | `Startup<U, Check>` | [`CampaignRight`]s | the node-wide check and the quarantine budget pass |
//! | [`Startup::elect`] | `Startup<U, Elect<U>>` | | every unit is confirmed, waived or quarantined |
//! | [`Startup::listen`] | `Startup<U, Listen>` | the [`ServeRight`] | the port is open |
//!
//! What comes out is [`Serving`]. Each method consumes its `self`, so the wrong
//! order does not compile, and rights are tokens that only the gate makes.
//!
//! Units whose log is replicated should vote long before their state is loaded:
//! a cluster that restarts gets its redundancy back with the first few reads.
//! [`Startup::load_joined`] joins each unit (opens its vote and log, takes its
//! [`VoteRight`]) in slots of its own, so that no slow load stands in the way.
//!
//! # The way down
//!
//! [`Serving::drain`], then [`Down::hand_over`], [`Down::close`],
//! [`Down::flush`], [`Down::unload`]. Leaderships are handed over while the
//! port serves: closing first would leave leaders behind a closed port. Until
//! the port is closed the way down can be called off with `resume`.
//!
//! # Who sees what
//!
//! [`Handle`] is the view for everybody: it tells, raises priorities,
//! quarantines and cancels, but grants nothing. [`Observer`]s are told every
//! [`Transition`]. [`Report`] is the time-line.
//!
//! # What decides
//!
//! [`machine::Machine`] decides every transition: state and event in, state and
//! effects out, without clock, task or lock. The rest of the crate carries out
//! what it says.
//!
//! # What this is not
//!
//! It neither elects nor loads: it knows of no consensus protocol and no
//! storage. It does not supervise units once the gate is open, other than by
//! confirming those that were waived.

mod admission;
mod caught;
mod config;
mod core;
mod critical_path;
mod down;
mod error;
mod fault;
mod handle;
pub mod machine;
mod meter;
mod observer;
mod report;
mod right;
mod serving;
mod stage;
mod startup;
mod ticket;
mod timeline;
mod unit;

pub use admission::{Admission, Admitted, NotAdmitted};
pub use config::{Concurrency, Config, ConfigError, Deadlines, DownDeadlines, Policy};
pub use down::Down;
pub use error::{StartError, StartErrorKind, UnitAndFault};
pub use fault::{FaultKind, NodeFault, UnitFault};
pub use handle::{Handle, NotOpened, SpanGuard};
pub use observer::{Change, Observer, TracingObserver, Transition};
pub use report::{Report, SpanReport, StageReport, StepReport, UnitReport};
pub use right::{CampaignRight, ServeRight, VoteRight};
pub use serving::Serving;
pub use stage::{Stage, Step, StepEnd};
pub use startup::Startup;
pub use ticket::{CheckTicket, Confirm, JoinTicket, LoadTicket, NotConfirmed, Progress};
pub use unit::{Counts, Priority, Unit, UnitSpec, UnitState};

/// The types that mark how far a [`Startup`] or a [`Down`] has come.
pub mod state {
    pub use crate::down::{Close, Flush, HandOver, Unload};
    pub use crate::startup::{Check, Elect, Listen, Load};
}

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
