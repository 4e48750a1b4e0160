//! Records of `data/`: what is written is read, and nothing else is. Their bytes
//! are pinned by the golden files.

use std::fmt::Debug;

use partition_types::{Incarnation, LogId, Member, Membership, NodeId};

use super::*;

/// Encodes and decodes one value, and damages its record in every place.
#[track_caller]
fn check<T: PartialEq + Debug>(
    encode: impl Fn(&T) -> Bytes,
    decode: impl Fn(&Bytes) -> Result<T, CodecError>,
    value: &T,
) {
    let record = encode(value);
    assert_eq!(decode(&record).as_ref(), Ok(value));

    for len in 0..record.len() {
        decode(&record.slice(..len)).expect_err("it is cut");
    }
    for bit in 0..record.len() * 8 {
        let mut flipped = record.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        decode(&flipped.into()).expect_err("a bit is flipped");
    }
    let supported = record[0];
    let newer: Bytes = [&[supported + 1], &record[1..]].concat().into();
    let refused = CodecError::Newer { found: supported + 1, supported };
    assert_eq!(decode(&newer), Err(refused));
}

fn extent(id: u64) -> ExtentId {
    ExtentId::new(id).unwrap()
}

fn log_id(term: u64, leader: u64, index: u64) -> LogId {
    LogId { term, leader: NodeId::new(leader).ok(), index }
}

#[test]
fn state() {
    let check = |state| check(encode_state, decode_state, &state);
    check(StateRecord::empty());
    let member = Member {
        incarnation: Incarnation::from_bytes([0xaa; 16]),
        peer_address: "p:1".into(),
        client_address: "c:2".into(),
        admin_address: String::new(),
    };
    let node = NodeId::new(5).unwrap();
    check(StateRecord {
        applied: Some(log_id(3, 1, 300)),
        membership_log_id: Some(log_id(0, 0, 0)),
        membership: Membership {
            voter_sets: vec![[node].into()],
            members: [(node, member)].into(),
        }
        .into(),
        next_extent_id: 130,
        extent_count: 1,
        staged_count: 2,
        size_bytes: u64::MAX,
        latest_at_ms: 4,
        request_count: 5,
        request_floor: 6,
        window: WindowClock {
            now_ms: 7,
            reading: Some(Reading { term: 3, leader: Some(node), at_ms: 1 << 50 }),
        },
    });
    let window = WindowClock {
        now_ms: u64::MAX,
        reading: Some(Reading { term: 0, leader: None, at_ms: 0 }),
    };
    check(StateRecord { window, ..StateRecord::empty() });
}

#[test]
fn extents() {
    let check = |extent| check(encode_extent, decode_extent, &extent);
    check(ExtentRecord::empty(1000));
    check(ExtentRecord {
        size: 1 << 40,
        stored_bytes: 5,
        next_chunk_id: 7,
        running_crc32c: None,
        sealed_crc32c: Some(Crc32c::from_u32(0x0102_0304)),
        created_at_ms: 1,
        modified_at_ms: 2,
    });
}

#[test]
fn runs() {
    let run = RunRecord {
        len: 0x1_0000,
        chunk_id: 200,
        skip: 3,
        chunk_len: 0x2_0000,
        chunk_crc32c: Crc32c::from_u32(0xdead_beef),
    };
    check(encode_run, decode_run, &run);
}

#[test]
fn requests() {
    let request = RequestRecord { request_id: RequestId::from_bytes([7; 16]), at_ms: 128 };
    check(encode_request, decode_request, &request);
}

#[test]
fn generations() {
    check(|g| encode_generation(*g), decode_generation, &0x0102_0304);
    assert!(decode_generation(&encode_generation(0)).is_err());
}

#[test]
fn outcomes() {
    let check = |outcome| check(encode_outcome, decode_outcome, &outcome);
    let crc32c = Crc32c::from_u32(0x0a0b_0c0d);
    let extent_id = extent(9);
    check(Outcome::Nothing);
    check(Outcome::Created { extent_id });
    check(Outcome::Stored { extent_id, size: 300, crc32c });
    check(Outcome::Written { offset: 1, size: 2 });
    check(Outcome::Sealed { size: 300, crc32c });
    let deleted = |id, found| Deleted { extent_id: extent(id), found };
    check(Outcome::Deleted(vec![deleted(1, true), deleted(300, false)]));
    check(Outcome::Deleted(vec![]));
    check(Outcome::Rejected(Rejection::ExtentNotFound(extent_id)));
    check(Outcome::Rejected(Rejection::ExtentSealed(extent_id)));
    let out_of_range = Rejection::OffsetOutOfRange { extent_id, offset: u64::MAX, size: 4 };
    check(Outcome::Rejected(out_of_range));
    check(Outcome::Rejected(Rejection::TooLarge(extent_id)));
    check(Outcome::Rejected(Rejection::StagedMismatch(extent_id)));
}

#[test]
fn nonsense_is_refused() {
    let refused = |body: &[u8], problem| {
        let record = frame::seal(VERSION, |out| out.raw(body));
        assert_eq!(decode_outcome(&record), Err(problem));
    };
    refused(&[99, 1], CodecError::Invalid("kind of outcome"));
    refused(&[CREATED, 0], CodecError::Invalid("extent id"));
    refused(&[NOTHING, 0], CodecError::TooLong(1));
    // More results than there are bytes: refused before anything is allocated.
    refused(&[DELETED, 0xff, 0xff, 0xff, 0xff, 0x0f], CodecError::Truncated);
}
