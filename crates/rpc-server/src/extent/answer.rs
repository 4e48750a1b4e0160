//! Results as gRPC answers, with the leader's address beside them.

use partition_types::PartitionId;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Response, Status};

use crate::context::NodeContext;
use crate::forward::leader_address;
use crate::layer::LeaderHint;
use crate::status::{Failure, LEADER_METADATA};

/// The answer of a call to a partition.
pub(super) fn finish<T>(
    context: &NodeContext,
    id: PartitionId,
    done: Result<T, Failure>,
) -> Result<Response<T>, Status> {
    let leader = leader_address(context, id);
    match done {
        Ok(message) => {
            let mut response = Response::new(message);
            if let Some(leader) = leader {
                response.extensions_mut().insert(LeaderHint(leader));
            }
            Ok(response)
        }
        Err(failure) => {
            let mut status = Status::from(failure);
            // The failure's own word is newer than what is known by now.
            let told = status.metadata().contains_key(LEADER_METADATA);
            let leader = leader.filter(|_| !told);
            if let Some(leader) = leader.and_then(|text| AsciiMetadataValue::try_from(text).ok()) {
                status.metadata_mut().insert(LEADER_METADATA, leader);
            }
            Err(status)
        }
    }
}
