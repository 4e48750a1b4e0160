//! What single commands come to, good and bad.

use bytes::Bytes;
use partition_types::{Crc32c, Deleted, Op, Outcome, Rejection};

use crate::check::Verify;
use crate::engine::Table;
use crate::state::{Problem, READ_LEN_MAX, ReadError};
use crate::testing::{Rig, append, bytes, delete, extent, op, publish, put, stage_part, write};

fn seal(id: u64) -> Op {
    Op::Seal { extent_id: extent(id) }
}

fn created(id: u64) -> Outcome {
    Outcome::Created { extent_id: extent(id) }
}

fn written(offset: u64, size: u64) -> Outcome {
    Outcome::Written { offset, size }
}

/// Applies the ops together, and one by one on another partition: the outcomes
/// are the expected ones both times.
async fn check(steps: Vec<(Op, Outcome)>) -> Rig {
    let (ops, expected): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    let one_by_one = Rig::new();
    for (op, expected) in ops.iter().zip(&expected) {
        let name = op.name();
        assert_eq!(one_by_one.apply([op.clone()]).await, std::slice::from_ref(expected), "{name}");
    }
    let together = Rig::new();
    assert_eq!(together.apply(ops).await, expected);
    let sums = (together.state.sum().await.unwrap(), one_by_one.state.sum().await.unwrap());
    assert_eq!(sums.0, sums.1);
    together.check(Verify::Full).unwrap();
    together
}

#[tokio::test]
async fn writes_land_where_they_should() {
    let abc = Bytes::from_static(b"abc");
    let nothing = Bytes::new();
    let rig = check(vec![
        (Op::Create, created(1)),
        (append(1, &abc), written(0, 3)),
        (append(1, &abc), written(3, 6)),
        (write(1, 1, &bytes(9, 1)), written(1, 6)),
        (write(1, 6, &abc), written(6, 9)),
        (write(1, 8, &abc), written(8, 11)),
        (append(1, &nothing), written(11, 11)),
        (write(1, 0, &nothing), written(0, 11)),
        (write(1, 11, &nothing), written(11, 11)),
    ])
    .await;
    let mut expected = b"abcabcababc".to_vec();
    expected[1] = bytes(9, 1)[0];
    assert_eq!(rig.read(1).await, expected);
}

#[tokio::test]
async fn wrong_writes_are_rejected_and_change_nothing() {
    let abc = Bytes::from_static(b"abc");
    let nothing = Bytes::new();
    let not_found = |id| Outcome::Rejected(Rejection::ExtentNotFound(extent(id)));
    let sealed = Outcome::Rejected(Rejection::ExtentSealed(extent(1)));
    let out_of_range = |offset| {
        let size = 3;
        Outcome::Rejected(Rejection::OffsetOutOfRange { extent_id: extent(1), offset, size })
    };
    let end = Outcome::Sealed { size: 3, crc32c: Crc32c::of(b"abc") };
    let rig = check(vec![
        (append(1, &abc), not_found(1)),
        (write(1, 0, &abc), not_found(1)),
        (seal(1), not_found(1)),
        (Op::Create, created(1)),
        (append(1, &abc), written(0, 3)),
        (write(1, 4, &abc), out_of_range(4)),
        (write(1, 4, &nothing), out_of_range(4)),
        (write(1, u64::MAX, &abc), out_of_range(u64::MAX)),
        (stage_part(1, 3, &abc), not_found(1)),
        (publish(1, b"abc"), not_found(1)),
        (seal(1), end.clone()),
        (append(1, &abc), sealed.clone()),
        (write(1, 0, &nothing), sealed),
        (seal(1), end),
        (delete(&[1, 1, 2]), {
            let result = |id, found| Deleted { extent_id: extent(id), found };
            Outcome::Deleted(vec![result(1, true), result(1, false), result(2, false)])
        }),
        (append(1, &abc), not_found(1)),
        (Op::Create, created(2)),
    ])
    .await;
    assert_eq!(rig.state.usage().extent_count, 1);
    assert_eq!(rig.state.usage().size_bytes, 0);
}

#[tokio::test]
async fn put_stores_whole_and_sealed() {
    for len in [0, 1, 128 * 1024, 128 * 1024 + 1, 1_000_000] {
        let data = bytes(3, len);
        let crc32c = Crc32c::of(&data);
        let stored = Outcome::Stored { extent_id: extent(1), size: len as u64, crc32c };
        let sealed = Outcome::Rejected(Rejection::ExtentSealed(extent(1)));
        let rig = check(vec![(put(&data), stored), (append(1, &data), sealed)]).await;
        assert_eq!(rig.read(1).await, data);
        let info = rig.state.stat(extent(1)).await.unwrap().unwrap();
        assert_eq!((info.size, info.sealed_crc32c), (len as u64, Some(crc32c)));
    }
}

#[tokio::test]
async fn sealing_sums_up_what_overwrites_left() {
    let rig = Rig::new();
    let mut expected = bytes(1, 400_000).to_vec();
    rig.apply([Op::Create, append(1, &bytes(1, 400_000))]).await;
    for (seed, (offset, len)) in (2..).zip([(10, 5), (131_000, 300), (399_990, 10), (0, 1)]) {
        let data = bytes(seed, len);
        expected[offset..offset + len].copy_from_slice(&data);
        rig.apply([write(1, offset as u64, &data)]).await;
    }
    let crc32c = Crc32c::of(&expected);
    assert_eq!(rig.apply([seal(1)]).await, [Outcome::Sealed { size: 400_000, crc32c }]);
    assert_eq!(rig.read(1).await, expected);
    rig.check(Verify::Full).unwrap();
}

#[tokio::test]
async fn uploads_appear_whole_or_not_at_all() {
    let whole = bytes(5, 300_000);
    let part = |from: usize, to: usize| stage_part(1, from as u64, &whole.slice(from..to));
    let mismatch = Outcome::Rejected(Rejection::StagedMismatch(extent(1)));
    let not_found = Outcome::Rejected(Rejection::ExtentNotFound(extent(1)));
    let stored =
        Outcome::Stored { extent_id: extent(1), size: 300_000, crc32c: Crc32c::of(&whole) };
    // The sum of what is there, and the size that the gap makes.
    let there = [&whole[..100_000], &whole[200_000..]].concat();
    let with_a_gap =
        Op::Publish { extent_id: extent(1), size: 300_000, crc32c: Crc32c::of(&there) };
    let rig = check(vec![
        (Op::Stage, created(1)),
        // Others do not see it.
        (append(1, &whole), not_found.clone()),
        (seal(1), not_found.clone()),
        // Out of order, twice, with a gap.
        (part(200_000, 300_000), written(200_000, 300_000)),
        (part(0, 100_000), written(0, 300_000)),
        (part(0, 100_000), written(0, 300_000)),
        (publish(1, &whole), mismatch.clone()),
        (with_a_gap, mismatch.clone()),
        (part(100_000, 200_000), written(100_000, 300_000)),
        (publish(1, &whole[1..]), mismatch.clone()),
        (publish(1, &[0; 300_000]), mismatch),
        (publish(1, &whole), stored),
        (publish(1, &whole), not_found.clone()),
        (part(0, 1), not_found),
    ])
    .await;
    assert_eq!(rig.read(1).await, whole);
    assert_eq!(rig.state.usage().staged_count, 0);
}

#[tokio::test]
async fn parts_fall_into_gaps() {
    let whole = bytes(5, 1000);
    let part = |from: usize, to: usize| stage_part(1, from as u64, &whole.slice(from..to));
    let mut steps = vec![(Op::Stage, created(1))];
    // Into gaps, over their edges, and over whole parts.
    for (from, to, size) in
        [(0, 10, 10), (900, 1000, 1000), (15, 18, 1000), (5, 20, 1000), (18, 950, 1000)]
    {
        steps.push((part(from, to), written(from as u64, size)));
    }
    let stored = Outcome::Stored { extent_id: extent(1), size: 1000, crc32c: Crc32c::of(&whole) };
    steps.push((publish(1, &whole), stored));
    assert_eq!(check(steps).await.read(1).await, whole);
}

#[tokio::test]
async fn a_staged_extent_cannot_reach_beyond_64_bits() {
    let data = bytes(1, 2);
    let too_large = Outcome::Rejected(Rejection::TooLarge(extent(1)));
    let last = u64::MAX - 2;
    let rig = check(vec![
        (Op::Stage, created(1)),
        (stage_part(1, u64::MAX, &data), too_large.clone()),
        (stage_part(1, u64::MAX - 1, &data), too_large),
        (stage_part(1, last, &data), written(last, u64::MAX)),
        (stage_part(1, last, &data), written(last, u64::MAX)),
    ])
    .await;
    assert_eq!(rig.state.usage().size_bytes, 2);
    rig.apply([delete(&[1])]).await;
    assert_eq!(rig.engine.image().keys(Table::Chunk).len(), 0);
}

#[tokio::test]
async fn staged_extents_are_unseen_and_expire() {
    let rig = Rig::new();
    let at = |index, at_ms, op| crate::testing::command(index, None, at_ms, op);
    let data = bytes(1, 10);
    rig.state
        .apply(vec![
            at(0, 100, Op::Stage),
            at(1, 100, Op::Stage),
            at(2, 100, Op::Create),
            at(3, 500, stage_part(1, 0, &data)),
            // A clock that is behind does not make an upload look older.
            at(4, 50, stage_part(1, 10, &data)),
        ])
        .await
        .unwrap();
    let listed = rig.state.list(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|info| info.extent_id).collect::<Vec<_>>(), [extent(3)]);
    assert_eq!(rig.state.stat(extent(1)).await.unwrap(), None);
    let read = rig.state.read(extent(1), 0, 1).await;
    assert!(matches!(read, Err(ReadError::ExtentNotFound(id)) if id == extent(1)));

    let expired = |ids: &[u64]| {
        let deleted = |&id: &u64| Deleted { extent_id: extent(id), found: true };
        Outcome::Deleted(ids.iter().map(deleted).collect())
    };
    let expire = |before_ms| Op::ExpireStaged { before_ms };
    assert_eq!(rig.apply([expire(100)]).await, [expired(&[])]);
    assert_eq!(rig.apply([expire(500)]).await, [expired(&[2])]);
    assert_eq!(rig.apply([expire(501)]).await, [expired(&[1])]);
    assert_eq!(rig.state.usage().staged_count, 0);
    assert_eq!(rig.state.usage().size_bytes, 0);
    rig.check(Verify::Full).unwrap();
}

#[tokio::test]
async fn reads_are_cut_to_what_is_there() {
    let rig = Rig::new();
    let data = bytes(1, 2_500_000);
    rig.apply([put(&data)]).await;
    let size = data.len() as u64;
    for (offset, max_len, expected_len) in [
        (0, 0, 0),
        (0, 1, 1),
        (0, READ_LEN_MAX, READ_LEN_MAX),
        (0, u64::MAX, READ_LEN_MAX),
        (1, u64::MAX, READ_LEN_MAX),
        (131_071, 2, 2),
        (size - 1, u64::MAX, 1),
        (size, u64::MAX, 0),
        (size, 0, 0),
    ] {
        let read = rig.state.read(extent(1), offset, max_len).await.unwrap();
        let found: Vec<u8> = read.frames.iter().flat_map(|f| f.data.to_vec()).collect();
        let index = |position| usize::try_from(position).unwrap();
        let expected = index(offset)..index(offset + expected_len);
        assert_eq!(found, data[expected], "{offset} {max_len}");
        assert_eq!((read.size, read.applied_index), (size, 0));
        assert!(read.frames.iter().all(|f| Crc32c::of(&f.data) == f.crc32c));
        assert!(read.frames.iter().all(|f| !f.data.is_empty()));
    }
    for offset in [size + 1, u64::MAX] {
        let read = rig.state.read(extent(1), offset, 1).await;
        assert!(matches!(read, Err(ReadError::OffsetOutOfRange { size: s }) if s == size));
    }
}

#[tokio::test]
async fn lists_go_on_where_they_ended() {
    let rig = Rig::new();
    rig.apply((0..5).map(|_| Op::Create)).await;
    rig.apply([delete(&[3])]).await;
    for (after, limit, expected) in [
        (None, 10, vec![1, 2, 4, 5]),
        (None, 2, vec![1, 2]),
        (Some(2), 2, vec![4, 5]),
        (Some(3), 1, vec![4]),
        (Some(5), 1, vec![]),
        (Some(u64::MAX), 1, vec![]),
        (None, 0, vec![]),
    ] {
        let listed = rig.state.list(after.map(extent), limit).await.unwrap();
        let ids: Vec<u64> = listed.iter().map(|info| info.extent_id.get()).collect();
        assert_eq!(ids, expected, "after {after:?}");
    }
}

#[tokio::test]
async fn deleting_large_extents_leaves_nothing() {
    // Below and above the number of runs from which on it is done by range.
    for runs in [63, 64, 65, 200] {
        let rig = Rig::new();
        rig.apply([Op::Create, Op::Create]).await;
        rig.apply((0..runs).map(|_| append(1, &bytes(1, 3)))).await;
        rig.apply([append(2, &bytes(1, 3))]).await;
        // In the same batch as the last appends: they go, too.
        rig.apply([append(1, &bytes(1, 3)), delete(&[1])]).await;
        assert_eq!(rig.engine.image().keys(Table::Chunk).len(), 1, "{runs} runs");
        rig.check(Verify::Full).unwrap();
        assert_eq!(rig.read(2).await, bytes(1, 3));
    }
}

#[tokio::test]
async fn a_payload_with_another_sum_stops_the_replica() {
    let rig = Rig::new();
    rig.apply([Op::Create]).await;
    let bad = Op::Append {
        extent_id: extent(1),
        data: Bytes::from_static(b"abc"),
        crc32c: Crc32c::of(b"abd"),
    };
    let error = rig.state.apply(vec![op(1, bad)]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(rig.state.applied().unwrap().index, 0);
}

#[tokio::test]
async fn entries_are_applied_once() {
    let rig = Rig::new();
    rig.apply([Op::Create, Op::Create]).await;
    for index in [0, 1] {
        let error = rig.state.apply(vec![op(index, Op::Create)]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    assert_eq!(rig.state.usage().extent_count, 2);
}

#[tokio::test]
async fn a_failed_write_is_final() {
    let rig = Rig::new();
    rig.apply([Op::Create]).await;
    rig.engine.fail_writes();
    for index in [1, 2] {
        rig.state.apply(vec![op(index, Op::Create)]).await.unwrap_err();
    }
    assert_eq!(rig.state.usage().extent_count, 1);
}

#[tokio::test]
async fn damaged_chunks_are_never_served() {
    let rig = Rig::new();
    let data = bytes(1, 300_000);
    rig.apply([put(&data)]).await;
    let keys = rig.engine.image().keys(Table::Chunk);
    crate::check::tests::damage(&rig.engine, Table::Chunk, &keys[1]);
    rig.state.read(extent(1), 0, 131_072).await.unwrap();
    for (offset, len) in [(131_072, 1), (0, 300_000), (262_143, 2)] {
        let read = rig.state.read(extent(1), offset, len).await;
        let Err(ReadError::ChecksumMismatch(damage)) = read else { panic!("served {read:?}") };
        assert_eq!((damage.extent_id, damage.offset), (extent(1), 131_072));
        assert_eq!(damage.problem, Problem::Checksum);
    }
    assert!(matches!(rig.state.sum().await, Err(ReadError::ChecksumMismatch(_))));
}
