//! Whose a data directory is: the identity file, and its copies in both
//! databases.

use bytes::Bytes;
use partition_types::{ClusterId, Incarnation, NodeId};
use uuid::Uuid;

use super::{CodecError, frame};

/// The version of this record, and with it of everything in the directory: it
/// is looked at before anything else is.
const VERSION: u8 = 1;

/// How far the making of a data directory went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The databases may not be there yet.
    Making,
    /// The databases are there; if one is not, it was taken away.
    Made,
}

/// Whose a data directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeRecord {
    pub(crate) cluster_id: ClusterId,
    pub(crate) node_id: NodeId,
    pub(crate) incarnation: Incarnation,
    /// Of this directory; no other one has it.
    pub(crate) disk: Uuid,
    pub(crate) phase: Phase,
    /// All disks of the node, this one included, in the order of their ids.
    pub(crate) disks: Vec<Uuid>,
}

pub(crate) fn encode_node(record: &NodeRecord) -> Bytes {
    frame::seal(VERSION, |out| {
        out.bytes(record.cluster_id.as_str().as_bytes());
        out.varint(record.node_id.get());
        out.raw(record.incarnation.as_bytes());
        out.raw(record.disk.as_bytes());
        out.u8(match record.phase {
            Phase::Making => 0,
            Phase::Made => 1,
        });
        out.varint(record.disks.len() as u64);
        for disk in &record.disks {
            out.raw(disk.as_bytes());
        }
    })
}

pub(crate) fn decode_node(record: &Bytes) -> Result<NodeRecord, CodecError> {
    frame::open(record, VERSION, |_, body| {
        let cluster_id = body.string()?.parse().map_err(|_| CodecError::Invalid("cluster id"))?;
        let node_id = body.node_id()?;
        let incarnation = Incarnation::from_bytes(body.array()?);
        let disk = Uuid::from_bytes(body.array()?);
        let phase = match body.u8()? {
            0 => Phase::Making,
            1 => Phase::Made,
            _ => return Err(CodecError::Invalid("phase")),
        };
        let count = body.count(16)?;
        let disks = (0..count)
            .map(|_| body.array().map(Uuid::from_bytes))
            .collect::<Result<_, CodecError>>()?;
        Ok(NodeRecord { cluster_id, node_id, incarnation, disk, phase, disks })
    })
}
