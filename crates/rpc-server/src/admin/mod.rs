//! The admin port's services and pages.

mod change;
mod create;
mod delete;
mod partition;
mod recover;
mod resolve;
mod survey;
mod target;
mod verify;

mod node;
mod report;
mod safe_to_stop;
mod status;

pub(crate) mod http;
mod json;
mod metrics;

pub use metrics::{InstallError, Metrics};
pub(crate) use node::Service as NodeService;
pub(crate) use partition::Service as PartitionService;
