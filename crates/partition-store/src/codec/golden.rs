//! Every key and every kind of record, byte for byte, against files under
//! `tests/golden/`: what an older program wrote must mean the same for good.
//!
//! A difference is a change of the format. If it is meant, the version of the
//! record goes up, the old bytes stay in the files as what is still read, and
//! `docs/disk-format.md` says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bytes::Bytes;
use partition_types::{
    Command, Crc32c, Deleted, Entry, ExtentId, Incarnation, LogId, Member, Membership, NodeId, Op,
    Outcome, PartitionId, Payload, Rejection, RequestId, Vote,
};
use uuid::Uuid;

use super::*;
use crate::keys;
use crate::state::{ExtentRecord, Reading, RequestRecord, RunRecord, StateRecord, WindowClock};

const KEYS: &str = include_str!("../../tests/golden/keys.txt");
const RECORDS: &str = include_str!("../../tests/golden/records.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn unhex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Compares lines of `name hex` with a golden file.
fn check_golden(golden: &str, found: &[(String, Bytes)]) {
    let found: String =
        found.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    assert!(golden == found, "the golden file would have to be:\n{found}");
}

fn partition() -> PartitionId {
    PartitionId::new(0x0102_0304_0506_0708).unwrap()
}

fn extent_id() -> ExtentId {
    ExtentId::new(0x1112_1314_1516_1718).unwrap()
}

fn request_id() -> RequestId {
    RequestId::from_bytes(*b"0123456789abcdef")
}

fn log_id(index: u64) -> LogId {
    LogId { term: 5, leader: NodeId::new(3).ok(), index }
}

fn member(id: u8) -> (NodeId, Member) {
    let member = Member {
        incarnation: Incarnation::from_bytes([id; 16]),
        peer_address: format!("10.0.0.{id}:17330"),
        client_address: format!("node{id}:17310"),
        admin_address: String::new(),
    };
    (NodeId::new(id.into()).unwrap(), member)
}

fn membership() -> Membership {
    let set = |ids: &[u64]| ids.iter().map(|&id| NodeId::new(id).unwrap()).collect::<BTreeSet<_>>();
    Membership {
        voter_sets: vec![set(&[1, 2]), set(&[2, 200])],
        members: [member(1), member(2), member(200)].into_iter().collect::<BTreeMap<_, _>>(),
    }
}

#[test]
fn keys_are_golden() {
    let (id, generation, extent) = (partition(), 0x2122_2324, extent_id().get());
    let (index, offset) = (0x3132_3334_3536_3738, 0x4142_4344_4546_4748);
    let range =
        |range: std::ops::Range<Vec<u8>>| [range.start, vec![0xee, 0xee], range.end].concat();
    let found: Vec<(&str, Vec<u8>)> = vec![
        ("log_entry", keys::log_entry(id, index)),
        ("log_entries", range(keys::log_entries(id, index..index + 9))),
        ("log_entries_from", range(keys::log_entries_from(id, index))),
        ("bounds", keys::bounds(id)),
        ("committed", keys::committed(id)),
        ("leader", keys::leader(id, index)),
        ("leaders", range(keys::leaders(id, index..index + 9))),
        ("leaders_from", range(keys::leaders_from(id, index))),
        ("vote", keys::vote(id)),
        ("manifest", keys::manifest(id)),
        ("manifest_all", range(keys::manifest_all())),
        ("raft_node", keys::raft_node()),
        ("raft_opens", keys::raft_opens()),
        ("data_node", keys::data_node()),
        ("generation_pointer", keys::generation_pointer(id)),
        ("partition_data", range(keys::partition_data(id))),
        ("generation_data", range(keys::generation_data(id, generation))),
        ("generations_from", range(keys::generations_from(id, generation))),
        ("state", keys::state(id, generation)),
        ("extent", keys::extent(id, generation, extent)),
        ("extents_from", range(keys::extents_from(id, generation, extent))),
        ("staged", keys::staged(id, generation, extent)),
        ("staged_from", range(keys::staged_from(id, generation, extent))),
        ("run", keys::run(id, generation, extent_id(), offset)),
        ("runs", range(keys::runs(id, generation, extent_id()))),
        ("outcome", keys::outcome(id, generation, &request_id())),
        ("request", keys::request(id, generation, index)),
        ("requests_from", range(keys::requests_from(id, generation, index))),
        ("chunk", keys::chunk(id, generation, extent_id(), offset)),
        ("chunks", range(keys::chunks(id, generation, extent_id()))),
    ];
    let found: Vec<_> =
        found.into_iter().map(|(name, key)| (name.to_owned(), Bytes::from(key))).collect();
    check_golden(KEYS, &found);
}

#[test]
fn keys_are_read_back() {
    let (id, index) = (partition(), 77);
    assert_eq!(keys::index_of_log_entry(&keys::log_entry(id, index)), Ok(index));
    assert_eq!(keys::partition_of_manifest(&keys::manifest(id)), Ok(id));
    assert_eq!(keys::generation_of(&keys::state(id, 9)), Ok(9));
    assert_eq!(keys::extent_of(&keys::extent(id, 9, 5)).map(ExtentId::get), Ok(5));
    assert_eq!(keys::extent_of(&keys::staged(id, 9, 5)).map(ExtentId::get), Ok(5));
    assert_eq!(keys::offset_of_run(&keys::run(id, 9, extent_id(), 4)), Ok(4));
    assert_eq!(keys::index_of_request(&keys::request(id, 9, index)), Ok(index));
}

/// Adds records of a kind to the golden ones, and checks that each is read back
/// from its golden bytes, and from no damaged form of them.
struct Records(Vec<(String, Bytes)>);

impl Records {
    fn add<T: PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        value: &T,
        encode: impl Fn(&T) -> Bytes,
        decode: impl Fn(&Bytes) -> Result<T, CodecError>,
    ) {
        let record = encode(value);
        let golden = RECORDS.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        if let Some(golden) = golden {
            assert_eq!(decode(&unhex(golden)).as_ref(), Ok(value), "{name} from its golden bytes");
        }
        for len in 0..record.len() {
            assert!(decode(&record.slice(..len)).is_err(), "{name} cut to {len} bytes");
        }
        for at in 0..record.len() {
            let mut bytes = record.to_vec();
            bytes[at] ^= 0x10;
            assert!(decode(&bytes.into()).is_err(), "{name} with byte {at} changed");
        }
        let mut newer = record.to_vec();
        let supported = record[0];
        newer[0] += 1;
        let newer = decode(&newer.into());
        let refused = CodecError::Newer { found: supported + 1, supported };
        assert_eq!(newer, Err(refused), "{name}");
        let longer = Bytes::from([&record[..], &[0]].concat());
        assert!(decode(&longer).is_err(), "{name} with a byte more");
        self.0.push((name.to_owned(), record));
    }

    /// Adds what an older program wrote, which is still read, as what it meant.
    fn add_older<T: PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        value: &T,
        decode: impl Fn(&Bytes) -> Result<T, CodecError>,
    ) {
        let golden = RECORDS.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        let record = unhex(golden.expect("what was once written stays in the file"));
        assert_eq!(decode(&record).as_ref(), Ok(value), "{name}");
        self.0.push((name.to_owned(), record));
    }
}

fn ops() -> Vec<Op> {
    let data = Bytes::from_static(b"payload");
    let (extent_id, offset, crc32c) = (extent_id(), 300, Crc32c::of(&data));
    vec![
        Op::Create,
        Op::Put { data: data.clone(), crc32c },
        Op::Append { extent_id, data: data.clone(), crc32c },
        Op::Write { extent_id, offset, data: data.clone(), crc32c },
        Op::Seal { extent_id },
        Op::Delete { extent_ids: vec![extent_id, ExtentId::new(1).unwrap()] },
        Op::Stage,
        Op::StagePart { extent_id, offset, data, crc32c },
        Op::Publish { extent_id, size: 1 << 40, crc32c },
        Op::ExpireStaged { before_ms: 1_700_000_000_000 },
    ]
}

fn add_entries(records: &mut Records) {
    let decode = |record: &Bytes| decode_entry(record.clone());
    let blank = Entry { log_id: log_id(9), payload: Payload::Blank };
    records.add("entry.blank", &blank, encode_entry, decode);
    let first = LogId { term: 0, leader: None, index: 0 };
    let member = Entry { log_id: first, payload: Payload::Membership(membership()) };
    records.add("entry.membership", &member, encode_entry, decode);
    for (nth, op) in ops().into_iter().enumerate() {
        let name = format!("entry.{}", op.name());
        let request_id = (nth % 2 == 0).then(request_id);
        let payload = Payload::Command(Command { request_id, at_ms: 1_700_000_000_123, op });
        let entry = Entry { log_id: log_id(u64::MAX), payload };
        records.add(&name, &entry, encode_entry, decode);
    }
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let (extent_id, crc32c) = (extent_id(), Crc32c::from_u32(0x0102_0304));
    let deleted = |found| Deleted { extent_id, found };
    let offset_out_of_range = Rejection::OffsetOutOfRange { extent_id, offset: 9, size: 8 };
    vec![
        ("nothing", Outcome::Nothing),
        ("created", Outcome::Created { extent_id }),
        ("stored", Outcome::Stored { extent_id, size: 700, crc32c }),
        ("written", Outcome::Written { offset: 1, size: 2 }),
        ("sealed", Outcome::Sealed { size: 700, crc32c }),
        ("deleted", Outcome::Deleted(vec![deleted(true), deleted(false)])),
        ("extent_not_found", Outcome::Rejected(Rejection::ExtentNotFound(extent_id))),
        ("extent_sealed", Outcome::Rejected(Rejection::ExtentSealed(extent_id))),
        ("offset_out_of_range", Outcome::Rejected(offset_out_of_range)),
        ("too_large", Outcome::Rejected(Rejection::TooLarge(extent_id))),
        ("staged_mismatch", Outcome::Rejected(Rejection::StagedMismatch(extent_id))),
    ]
}

fn add_log_meta(records: &mut Records) {
    let vote = Vote { term: 1 << 33, voted_for: NodeId::new(2).ok(), committed: true };
    records.add("vote", &vote, encode_vote, decode_vote);
    let nobody = Vote { voted_for: None, committed: false, ..vote };
    records.add("vote.nobody", &nobody, encode_vote, decode_vote);
    let (purged, entries) = (Some(log_id(6)), Some((7, log_id(300))));
    let bounds = Bounds { purged, entries, leaders_from: 150 };
    records.add("bounds", &bounds, encode_bounds, decode_bounds);
    records.add("bounds.empty", &Bounds::default(), encode_bounds, decode_bounds);
    records.add_older("bounds.v1", &Bounds { leaders_from: 301, ..bounds }, decode_bounds);
    records.add_older("bounds.empty.v1", &Bounds::default(), decode_bounds);
    records.add("leader", &log_id(7), |first| encode_leader(*first), decode_leader);
    records.add("committed", &log_id(8), |id| encode_committed(*id), decode_committed);
    let disk = Uuid::from_u128(0x0a0b_0c0d);
    let placement = Some(Placement { disk, created_with: vec![member(2), member(1)] });
    let present = ManifestRecord { revision: 3, placement, promised: None };
    records.add("manifest", &present, encode_manifest, decode_manifest);
    let vote = Some(Vote { committed: false, ..vote });
    let promised = Some(Promised { vote, last: Some(log_id(300)) });
    let deleted = ManifestRecord { revision: 4, placement: None, promised };
    records.add("manifest.deleted", &deleted, encode_manifest, decode_manifest);
    let promised = Some(Promised { vote: None, last: None });
    let deleted = ManifestRecord { promised, ..deleted };
    records.add("manifest.deleted_new", &deleted, encode_manifest, decode_manifest);
    records.add_older("manifest.v1", &present, decode_manifest);
    let deleted = ManifestRecord { promised: None, ..deleted };
    records.add_older("manifest.deleted.v1", &deleted, decode_manifest);
    let mark = MarkRecord { sequence: 1 << 40, wal_number: 12, wal_len: 1 << 20 };
    records.add("mark", &mark, encode_mark, decode_mark);
    records.add("opens", &300, |opens| encode_opens(*opens), decode_opens);
    for (name, phase) in [("node.making", Phase::Making), ("node.made", Phase::Made)] {
        let node = NodeRecord {
            cluster_id: "a.cluster-1".parse().unwrap(),
            node_id: NodeId::new(7).unwrap(),
            incarnation: Incarnation::from_bytes([9; 16]),
            disk,
            phase,
            disks: vec![disk, Uuid::from_u128(u128::MAX)],
        };
        records.add(name, &node, encode_node, decode_node);
    }
}

fn add_state(records: &mut Records) {
    let state = StateRecord {
        applied: Some(log_id(400)),
        membership_log_id: Some(log_id(2)),
        membership: membership().into(),
        next_extent_id: 12,
        extent_count: 10,
        staged_count: 1,
        size_bytes: 1 << 35,
        latest_at_ms: 1_700_000_000_123,
        request_count: 99,
        request_floor: 301,
        window: WindowClock {
            now_ms: 3_600_000,
            reading: Some(Reading {
                term: 5,
                leader: NodeId::new(3).ok(),
                at_ms: 1_700_000_000_100,
            }),
        },
    };
    records.add("state", &state, encode_state, decode_state);
    records.add("state.empty", &StateRecord::empty(), encode_state, decode_state);
    let window = WindowClock { now_ms: state.latest_at_ms, reading: None };
    records.add_older("state.v1", &StateRecord { window, ..state }, decode_state);
    records.add_older("state.empty.v1", &StateRecord::empty(), decode_state);
    let open = ExtentRecord::empty(1_700_000_000_123);
    records.add("extent.open", &open, encode_extent, decode_extent);
    let sealed = ExtentRecord {
        size: 1 << 30,
        stored_bytes: 1 << 30,
        next_chunk_id: 500,
        running_crc32c: None,
        sealed_crc32c: Some(Crc32c::from_u32(0x0102_0304)),
        ..open
    };
    records.add("extent.sealed", &sealed, encode_extent, decode_extent);
    let run = RunRecord {
        len: 1000,
        chunk_id: 77,
        skip: 24,
        chunk_len: 131_072,
        chunk_crc32c: Crc32c::from_u32(0x0102_0304),
    };
    records.add("run", &run, encode_run, decode_run);
    for (name, outcome) in outcomes() {
        records.add(&format!("outcome.{name}"), &outcome, encode_outcome, decode_outcome);
    }
    let request = RequestRecord { request_id: request_id(), at_ms: 1_700_000_000_123 };
    records.add("request", &request, encode_request, decode_request);
    records.add("generation", &7, |generation| encode_generation(*generation), decode_generation);
}

#[test]
fn records_are_golden() {
    let mut records = Records(Vec::new());
    add_entries(&mut records);
    let decode = |record: &Bytes| decode_membership(record.clone());
    records.add("membership", &membership(), encode_membership, decode);
    add_log_meta(&mut records);
    add_state(&mut records);
    check_golden(RECORDS, &records.0);
}

#[test]
fn a_payload_is_not_copied() {
    let data = Bytes::from(vec![7; 100_000]);
    let op = Op::Put { crc32c: Crc32c::of(&data), data };
    let command = Command { request_id: None, at_ms: 1, op };
    let record = encode_entry(&Entry { log_id: log_id(1), payload: Payload::Command(command) });
    let within = record.as_ptr() as usize..record.as_ptr() as usize + record.len();
    match decode_entry(record).unwrap().payload {
        Payload::Command(Command { op: Op::Put { data, .. }, .. }) => {
            assert!(within.contains(&(data.as_ptr() as usize)));
        }
        other => panic!("{other:?}"),
    }
}

proptest::proptest! {
    /// Whatever the bytes are, even with a right checksum.
    #[test]
    fn decoding_never_panics(body: Vec<u8>) {
        let record = frame::seal(1, |out| out.raw(&body));
        let newer = frame::seal(2, |out| out.raw(&body));
        let _ = decode_entry(record.clone());
        let _ = decode_entry(body.into());
        let _ = decode_membership(record.clone());
        let _ = decode_vote(&record);
        let _ = decode_bounds(&record);
        let _ = decode_bounds(&newer);
        let _ = decode_committed(&record);
        let _ = decode_leader(&record);
        let _ = decode_manifest(&record);
        let _ = decode_manifest(&newer);
        let _ = decode_node(&record);
        let _ = decode_mark(&record);
        let _ = decode_opens(&record);
        let _ = decode_state(&record);
        let _ = decode_state(&newer);
        let _ = decode_extent(&record);
        let _ = decode_run(&record);
        let _ = decode_outcome(&record);
        let _ = decode_request(&record);
        let _ = decode_generation(&record);
    }

    #[test]
    fn numbers_have_one_form(value: u64, bytes: Vec<u8>) {
        let mut out = Writer::default();
        out.varint(value);
        proptest::prop_assert_eq!(Reader::new(out.into_bytes()).varint(), Ok(value));
        let mut reader = Reader::new(bytes.clone().into());
        if let Ok(value) = reader.varint() {
            let mut again = Writer::default();
            again.varint(value);
            proptest::prop_assert!(bytes.starts_with(again.as_slice()));
            proptest::prop_assert_eq!(bytes.len() - reader.remaining(), again.as_slice().len());
        }
    }
}
