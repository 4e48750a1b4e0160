//! What replicas have in common: sums, watermarks, reopening.

use std::sync::atomic::Ordering;

use partition_types::{Membership, Op, Payload};

use crate::testing::{Rig, append, bytes, delete, entry, log_id, op, put, stage_part, write};

#[tokio::test]
async fn sums_are_of_the_content() {
    let one = Rig::new();
    let other = Rig::new();
    for rig in [&one, &other] {
        rig.apply([Op::Create, append(1, &bytes(1, 200_000)), put(&bytes(2, 10))]).await;
    }
    assert_eq!(one.state.sum().await.unwrap(), other.state.sum().await.unwrap());
    let sum = one.state.sum().await.unwrap();
    assert_eq!((sum.applied_index, sum.extent_count, sum.size_bytes), (2, 2, 200_010));
    one.apply([write(1, 7, &bytes(1, 1))]).await;
    other.apply([write(1, 7, &bytes(2, 1))]).await;
    assert_ne!(one.state.sum().await.unwrap().crc32c, other.state.sum().await.unwrap().crc32c);
}

#[tokio::test]
async fn only_a_flush_makes_durable() {
    let rig = Rig::new();
    assert_eq!((rig.state.applied(), rig.state.durable_applied()), (None, None));
    rig.apply([Op::Create, Op::Create]).await;
    assert_eq!((rig.state.applied(), rig.state.durable_applied()), (Some(log_id(1)), None));
    rig.state.flush().await.unwrap();
    rig.apply([Op::Create]).await;
    assert_eq!(rig.state.durable_applied(), Some(log_id(1)));
    assert!(rig.disk.applied_bytes.load(Ordering::SeqCst) > 0);

    let crashed = Rig::open(rig.engine.durable_image()).unwrap();
    assert_eq!(crashed.state.applied(), Some(log_id(1)));
    assert_eq!(crashed.state.durable_applied(), Some(log_id(1)));
    assert_eq!(crashed.state.usage().extent_count, 2);
}

#[tokio::test]
async fn membership_is_that_of_the_last_entry_that_had_one() {
    let rig = Rig::new();
    assert_eq!(rig.state.membership(), (None, Membership::default()));
    let membership = |voter| Membership {
        voter_sets: vec![[partition_types::NodeId::new(voter).unwrap()].into()],
        members: [].into(),
    };
    let entries = vec![
        entry(0, Payload::Membership(membership(1))),
        entry(1, Payload::Blank),
        entry(2, Payload::Membership(membership(2))),
        op(3, Op::Create),
    ];
    rig.state.apply(entries).await.unwrap();
    let expected = (Some(log_id(2)), membership(2));
    assert_eq!(rig.state.membership(), expected);
    let reopened = Rig::open(rig.engine.image()).unwrap();
    assert_eq!(reopened.state.membership(), expected);
}

#[tokio::test]
async fn large_slices_are_written_in_several_batches() {
    let rig = Rig::new();
    rig.apply([Op::Create]).await;
    rig.engine.record();
    rig.apply((0..30).map(|_| append(1, &bytes(1, 1_000_000)))).await;
    // The first image is from before the call.
    let writes = rig.engine.recorded().len() - 1;
    assert!((4..=5).contains(&writes), "{writes} writes of about 8 MiB");
    assert_eq!(rig.state.usage().size_bytes, 30_000_000);
}

#[tokio::test]
async fn freed_bytes_are_those_of_chunks() {
    let rig = Rig::new();
    rig.apply([Op::Create, append(1, &bytes(1, 1000)), put(&bytes(2, 300_000))]).await;
    let freed = || rig.disk.freed_bytes.swap(0, Ordering::SeqCst);
    for (op, expected) in [
        (write(1, 0, &bytes(3, 600)), 0),
        // The rest of the first chunk.
        (write(1, 600, &bytes(4, 400)), 1000),
        (delete(&[1]), 1000),
        (delete(&[1, 2, 3]), 300_000),
    ] {
        rig.apply([op]).await;
        assert_eq!(freed(), expected);
    }
}

#[tokio::test]
async fn where_the_gaps_of_an_upload_are_is_in_the_sum() {
    let (one, other) = (Rig::new(), Rig::new());
    // The same sizes, bytes and counters; the byte in the middle stands elsewhere.
    for (rig, offset) in [(&one, 2), (&other, 4)] {
        let part = |offset| stage_part(1, offset, &bytes(1, 1));
        rig.apply([Op::Stage, part(0), part(offset), part(9)]).await;
    }
    assert_ne!(one.state.sum().await.unwrap().crc32c, other.state.sum().await.unwrap().crc32c);
}
