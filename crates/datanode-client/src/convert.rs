//! Wire to types: an answer that makes no sense is an error, never a guess.

use std::time::{Duration, SystemTime};

use datanode_proto::v1;
use partition_types::{Crc32c, ExtentId, NodeId, PartitionId};

use crate::error::{Detail, Error};
use crate::extent::{ExtentInfo, Stored};
use crate::route::{Replica, Route};

pub(crate) fn nonsense(what: &'static str) -> Error {
    Error::new(Detail::Protocol(what))
}

pub(crate) fn extent_id(id: u64) -> Result<ExtentId, Error> {
    ExtentId::new(id).map_err(|_| nonsense("an extent without an id"))
}

pub(crate) fn stored(id: u64, size: u64, crc32c: u32) -> Result<Stored, Error> {
    Ok(Stored { extent_id: extent_id(id)?, size, crc32c: Crc32c::from_u32(crc32c) })
}

pub(crate) fn stat(stat: v1::StatExtentResponse) -> Result<ExtentInfo, Error> {
    Ok(ExtentInfo {
        extent_id: extent_id(stat.extent_id)?,
        size: stat.size,
        sealed: stat.sealed,
        crc32c: stat.crc32c.map(Crc32c::from_u32),
        created_at: time(stat.created_at),
        modified_at: time(stat.modified_at),
    })
}

pub(crate) fn extent(extent: v1::Extent) -> Result<ExtentInfo, Error> {
    Ok(ExtentInfo {
        extent_id: extent_id(extent.extent_id)?,
        size: extent.size,
        sealed: extent.sealed,
        crc32c: extent.crc32c.map(Crc32c::from_u32),
        created_at: time(extent.created_at),
        modified_at: time(extent.modified_at),
    })
}

pub(crate) fn route(route: v1::Route) -> Result<Route, Error> {
    let replica = |replica: v1::RouteReplica| {
        let node_id = NodeId::new(replica.node_id).map_err(|_| nonsense("a replica on no node"))?;
        let client_address = replica.client_address;
        Ok(Replica { node_id, client_address, learner: replica.learner })
    };
    Ok(Route {
        partition_id: PartitionId::new(route.partition_id)
            .map_err(|_| nonsense("a route without a partition"))?,
        replicas: route.replicas.into_iter().map(replica).collect::<Result<_, Error>>()?,
        leader: NodeId::new(route.leader_node_id).ok(),
        epoch: route.epoch,
    })
}

/// A time before 1970, or none, is the epoch.
fn time(timestamp: Option<prost_types::Timestamp>) -> SystemTime {
    let since_epoch = timestamp.and_then(|timestamp| {
        let seconds = u64::try_from(timestamp.seconds).ok()?;
        Some(Duration::new(seconds, u32::try_from(timestamp.nanos).ok()?))
    });
    let epoch = SystemTime::UNIX_EPOCH;
    since_epoch.and_then(|duration| epoch.checked_add(duration)).unwrap_or(epoch)
}
