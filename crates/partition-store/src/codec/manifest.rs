//! Which partitions a node has, and on which of its disks.

use bytes::Bytes;
use partition_types::{Member, NodeId};
use uuid::Uuid;

use super::member::{read_member, write_member};
use super::{CodecError, frame};

const VERSION: u8 = 1;

/// A member with its node id.
const MEMBER_LEN_MIN: usize = 1 + 16 + 3;

/// A partition, present or deleted. Every disk has the records of all
/// partitions of the node; of two for one partition, the one with the higher
/// revision is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestRecord {
    /// Counts the creations and deletions of the partition on this node.
    pub(crate) revision: u64,
    /// Where it is; `None` when it was deleted.
    pub(crate) placement: Option<Placement>,
}

/// Where a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    /// On which disk.
    pub(crate) disk: Uuid,
    /// The members that its creation named, in that order.
    pub(crate) created_with: Vec<(NodeId, Member)>,
}

pub(crate) fn encode_manifest(record: &ManifestRecord) -> Bytes {
    frame::seal(VERSION, |out| {
        out.varint(record.revision);
        out.option(record.placement.as_ref(), |out, placement| {
            out.raw(placement.disk.as_bytes());
            out.varint(placement.created_with.len() as u64);
            for (node_id, member) in &placement.created_with {
                write_member(out, *node_id, member);
            }
        });
    })
}

pub(crate) fn decode_manifest(record: &Bytes) -> Result<ManifestRecord, CodecError> {
    frame::open(record, VERSION, |_, body| {
        let revision = body.varint()?;
        let placement = body.option(|body| {
            let disk = Uuid::from_bytes(body.array()?);
            let count = body.count(MEMBER_LEN_MIN)?;
            let created_with =
                (0..count).map(|_| read_member(body)).collect::<Result<_, CodecError>>()?;
            Ok(Placement { disk, created_with })
        })?;
        Ok(ManifestRecord { revision, placement })
    })
}
