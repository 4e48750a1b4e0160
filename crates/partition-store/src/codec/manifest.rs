//! Which partitions a node has, and on which of its disks.

use bytes::Bytes;
use partition_types::{LogId, Member, NodeId, Vote};
use uuid::Uuid;

use super::member::{read_member, write_member};
use super::{CodecError, Reader, Writer, frame};

/// Version 1 forgot what deleted replicas had promised.
const VERSION: u8 = 2;

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
    /// What the replica that was deleted last had promised to its group, if the next
    /// one is to keep it.
    pub(crate) promised: Option<Promised>,
}

/// What a replica can have promised: it may count in a group in which a voter that was
/// left behind does not know that it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promised {
    /// Not to vote otherwise, or before that. Never committed.
    pub(crate) vote: Option<Vote>,
    /// To have all up to this entry.
    pub(crate) last: Option<LogId>,
}

impl Promised {
    /// This, and what was promised before.
    pub(crate) fn and(self, before: Option<Self>) -> Self {
        let Some(before) = before else { return self };
        Self { vote: self.vote.max(before.vote), last: self.last.max(before.last) }
    }
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
        out.option(record.promised, |out, promised| {
            out.option(promised.vote, |out, vote| {
                out.varint(vote.term);
                // Node ids begin at 1: 0 is nobody.
                out.varint(vote.voted_for.map_or(0, NodeId::get));
            });
            out.option(promised.last, Writer::log_id);
        });
    })
}

pub(crate) fn decode_manifest(record: &Bytes) -> Result<ManifestRecord, CodecError> {
    frame::open(record, VERSION, |version, body| {
        let revision = body.varint()?;
        let placement = body.option(|body| {
            let disk = Uuid::from_bytes(body.array()?);
            let count = body.count(MEMBER_LEN_MIN)?;
            let created_with =
                (0..count).map(|_| read_member(body)).collect::<Result<_, CodecError>>()?;
            Ok(Placement { disk, created_with })
        })?;
        let promised = if version > 1 { body.option(read_promised)? } else { None };
        Ok(ManifestRecord { revision, placement, promised })
    })
}

fn read_promised(body: &mut Reader) -> Result<Promised, CodecError> {
    let vote = body.option(|body| {
        let (term, voted_for) = (body.varint()?, NodeId::new(body.varint()?).ok());
        Ok(Vote { term, voted_for, committed: false })
    })?;
    Ok(Promised { vote, last: body.option(Reader::log_id)? })
}
