//! The admin port's services and pages.

mod partition;
mod target;
mod survey;
mod resolve;
mod create;
mod delete;
mod change;
mod recover;
mod verify;

mod node;
mod status;
mod report;
mod safe_to_stop;

pub(crate) mod http;
mod json;
mod metrics;

pub(crate) use node::Service as NodeService;
pub(crate) use partition::Service as PartitionService;
pub use metrics::Metrics;
