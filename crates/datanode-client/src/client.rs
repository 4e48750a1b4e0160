//! The client itself: what it holds. What it does stands beside it, a file a
//! concern: extents, reading, uploading, routes.

use std::sync::Arc;

use partition_types::{PartitionId, RequestId};

use crate::call::{Core, Target};
use crate::config::{ClientConfig, InvalidConfig};

/// A client of a cluster's client ports. Cheap to clone; clones share their
/// connections and what they know of leaders.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
    /// Set by [`Client::under`].
    request_id: Option<RequestId>,
}

impl Client {
    /// A client that begins at `endpoints`, client addresses as `host:port`.
    /// It connects when it is used, also to nodes that it learns of.
    ///
    /// # Errors
    /// [`InvalidConfig`] when there is no endpoint, one is not `host:port`, or
    /// a setting is out of its range.
    pub fn new<I, S>(endpoints: I, config: ClientConfig) -> Result<Self, InvalidConfig>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        Ok(Self { core: Arc::new(Core::new(endpoints, config)?), request_id: None })
    }

    /// This client for **one** change under a request id of the caller's, in
    /// place of a fresh one: to repeat a change whose outcome is unknown. Two
    /// different changes under one id are taken for one.
    #[must_use]
    pub fn under(&self, request_id: RequestId) -> Self {
        Self { core: Arc::clone(&self.core), request_id: Some(request_id) }
    }

    /// A change of a partition, under its request id.
    pub(crate) fn change(&self, partition_id: PartitionId) -> (Target, RequestId) {
        let request_id = self.request_id.unwrap_or_else(RequestId::random);
        (Target::Change(partition_id, request_id), request_id)
    }
}

/// A request id as the wire has it.
pub(crate) fn wire(request_id: RequestId) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(request_id.as_bytes())
}
