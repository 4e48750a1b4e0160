//! Membership of a group.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use partition_types::{Incarnation, Member, Membership, NodeId};

use super::{CodecError, Reader, Writer, frame};

const VERSION: u8 = 1;

/// Incarnation and three empty addresses.
const MEMBER_LEN_MIN: usize = 16 + 3;

/// Encodes a membership as a record of its own.
#[must_use]
pub fn encode_membership(membership: &Membership) -> Bytes {
    frame::seal(VERSION, |out| write_membership(out, membership))
}

/// Decodes a membership.
///
/// # Errors
/// [`CodecError`] when the bytes are not a membership, or not whole.
#[expect(clippy::needless_pass_by_value, reason = "what is decoded may keep the bytes")]
pub fn decode_membership(record: Bytes) -> Result<Membership, CodecError> {
    frame::open(&record, VERSION, |_, body| read_membership(body))
}

/// Writes a membership as part of a record.
pub(crate) fn write_membership(out: &mut Writer, membership: &Membership) {
    out.varint(membership.voter_sets.len() as u64);
    for voters in &membership.voter_sets {
        out.varint(voters.len() as u64);
        for voter in voters {
            out.varint(voter.get());
        }
    }
    out.varint(membership.members.len() as u64);
    for (&node_id, member) in &membership.members {
        write_member(out, node_id, member);
    }
}

/// Reads a membership that is part of a record.
pub(crate) fn read_membership(body: &mut Reader) -> Result<Membership, CodecError> {
    let sets = body.count(1)?;
    let voter_sets = (0..sets)
        .map(|_| {
            let voters = body.count(1)?;
            (0..voters).map(|_| body.node_id()).collect::<Result<BTreeSet<_>, _>>()
        })
        .collect::<Result<_, CodecError>>()?;
    let count = body.count(1 + MEMBER_LEN_MIN)?;
    let members =
        (0..count).map(|_| read_member(body)).collect::<Result<BTreeMap<_, _>, CodecError>>()?;
    Ok(Membership { voter_sets, members })
}

/// Writes one member.
pub(crate) fn write_member(out: &mut Writer, node_id: NodeId, member: &Member) {
    out.varint(node_id.get());
    out.raw(member.incarnation.as_bytes());
    for address in [&member.peer_address, &member.client_address, &member.admin_address] {
        out.bytes(address.as_bytes());
    }
}

/// Reads one member.
pub(crate) fn read_member(body: &mut Reader) -> Result<(NodeId, Member), CodecError> {
    let node_id = body.node_id()?;
    let incarnation = Incarnation::from_bytes(body.array()?);
    let peer_address = body.string()?;
    let client_address = body.string()?;
    let admin_address = body.string()?;
    Ok((node_id, Member { incarnation, peer_address, client_address, admin_address }))
}
