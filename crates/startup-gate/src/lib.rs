//! Sequences **load → check → elect → listen**, and the same list backwards on
//! the way down.

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
pub use ticket::{CheckTicket, Confirm, LoadTicket, NotConfirmed, Progress};
pub use unit::{Counts, Priority, Unit, UnitSpec, UnitState};

/// The types that mark how far a [`Startup`] or a [`Down`] has come.
pub mod state {
    pub use crate::down::{Close, Flush, HandOver, Unload};
    pub use crate::startup::{Check, Elect, Listen, Load};
}
