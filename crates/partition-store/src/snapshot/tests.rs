//! Snapshots from one partition in memory to another.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use partition_types::{LogId, Membership, NodeId, Op, Payload};

use super::{SnapshotReader, StagedSnapshot};
use crate::check::Verify;
use crate::check::tests::damage;
use crate::engine::Table;
use crate::engine::image::Image;
use crate::testing::{
    Rig, append, bytes, check_state, command, delete, entry, log_id, put, request, stage_part,
    write,
};

/// A partition with something of everything, larger than one chunk of a stream.
async fn source() -> Rig {
    let rig = Rig::new();
    let voters =
        Membership { voter_sets: vec![[NodeId::new(5).unwrap()].into()], members: [].into() };
    rig.state.apply(vec![entry(0, Payload::Membership(voters))]).await.unwrap();
    rig.apply([
        Op::Create,
        append(1, &bytes(1, 3_000_000)),
        write(1, 100, &bytes(2, 50)),
        write(1, 131_000, &bytes(3, 500)),
        put(&bytes(4, 10)),
        Op::Stage,
        stage_part(3, 1000, &bytes(5, 200_000)),
        Op::Create,
        delete(&[2]),
    ])
    .await;
    let named = |index, name| command(index, Some(request(name)), 0, Op::Create);
    rig.state.apply(vec![named(10, 1), named(11, 2)]).await.unwrap();
    rig
}

async fn chunks_of(mut reader: SnapshotReader) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk().await.expect("the source is sound") {
        assert!(chunk.len() <= 1024 * 1024);
        chunks.push(chunk);
    }
    chunks
}

async fn stage(rig: &Rig, chunks: &[Bytes]) -> std::io::Result<StagedSnapshot> {
    let mut sink = rig.state.begin_install().await?;
    for chunk in chunks {
        sink.write(chunk.clone()).await?;
    }
    sink.finish().await
}

/// What a sender announces beside the stream.
type Announced = (LogId, Option<LogId>, Membership);

async fn stream(rig: &Rig) -> (Announced, Vec<Bytes>) {
    let reader = rig.state.snapshot().open().await.expect("something was applied");
    let announced = (reader.last, reader.membership_log_id, reader.membership.clone());
    (announced, chunks_of(reader).await)
}

async fn install(rig: &Rig, staged: StagedSnapshot, announced: Announced) -> std::io::Result<()> {
    let (last, membership_log_id, membership) = announced;
    rig.state.install(staged, last, membership_log_id, membership).await
}

/// Threads that discard do so soon after they were told.
async fn wait_for_keys(rig: &Rig, expected: usize) {
    for _ in 0..1000 {
        if keys(&rig.engine.image()) == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{} keys are left, not {expected}", keys(&rig.engine.image()));
}

fn keys(image: &Image) -> usize {
    image.keys(Table::StateMeta).len() + image.keys(Table::Chunk).len()
}

#[tokio::test]
async fn an_installed_snapshot_is_the_state_it_was_taken_of() {
    let from = source().await;
    let (announced, chunks) = stream(&from).await;
    assert!(chunks.len() > 3, "header, records, trailer, and more records");

    // Into an empty replica, and into one that has something else.
    for ops in [vec![], vec![put(&bytes(9, 200_000)), Op::Create, Op::Stage]] {
        let to = Rig::new();
        to.apply(ops).await;
        let staged = stage(&to, &chunks).await.unwrap();
        install(&to, staged, announced.clone()).await.unwrap();

        assert_eq!(to.state.sum().await.unwrap(), from.state.sum().await.unwrap());
        assert_eq!(to.state.usage(), from.state.usage());
        assert_eq!(to.state.membership(), from.state.membership());
        assert_eq!(to.state.applied(), Some(log_id(11)));
        assert_eq!(to.state.durable_applied(), Some(log_id(11)));
        to.check(Verify::Full).unwrap();
        // The pointer is all that is more: the old state is gone.
        wait_for_keys(&to, keys(&from.engine.image()) + 1).await;

        // Both go on alike, requests of before included; so after a crash.
        let crashed = Rig::open(to.engine.durable_image()).unwrap();
        assert_eq!(crashed.read(1).await, from.read(1).await);
        let next = vec![
            command(12, Some(request(1)), 0, Op::Create),
            command(13, None, 0, write(1, 5, &bytes(7, 1_000_000))),
            command(14, None, 0, Op::Create),
        ];
        let twin = Rig::open(from.engine.image()).unwrap();
        let outcomes = twin.state.apply(next.clone()).await.unwrap();
        assert_eq!(to.state.apply(next.clone()).await.unwrap(), outcomes);
        assert_eq!(crashed.state.apply(next).await.unwrap(), outcomes);
        assert_eq!(to.state.sum().await.unwrap(), twin.state.sum().await.unwrap());
        assert_eq!(crashed.state.sum().await.unwrap(), twin.state.sum().await.unwrap());
        crashed.check(Verify::Full).unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_is_of_the_moment_it_was_opened() {
    let from = source().await;
    let before = from.state.sum().await.unwrap();
    let lazy = from.state.snapshot();
    let reader = lazy.open().await.unwrap();
    let announced = (reader.last, reader.membership_log_id, reader.membership.clone());
    // Everything changes before the first chunk is taken.
    from.apply([delete(&[1, 3]), put(&bytes(8, 500_000)), Op::Create]).await;
    let to = Rig::new();
    let staged = stage(&to, &chunks_of(reader).await).await.unwrap();
    install(&to, staged, announced).await.unwrap();
    assert_eq!(to.state.sum().await.unwrap(), before);
    // Opened again, the same handle is of now.
    assert_eq!(lazy.open().await.unwrap().last, log_id(14));
}

#[tokio::test]
async fn there_is_no_snapshot_of_nothing() {
    let error = Rig::new().state.snapshot().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_dropped_reader_ends_its_thread() {
    let from = source().await;
    let reader = from.state.snapshot().open().await.unwrap();
    let engine = std::sync::Arc::downgrade(&from.engine);
    drop(reader);
    drop(from.state);
    from.disk.forget();
    drop((from.disk, from.engine));
    for _ in 0..1000 {
        if engine.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the thread still holds the engine");
}

#[tokio::test]
async fn an_abandoned_install_leaves_the_state_as_it_was() {
    let (announced, chunks) = stream(&source().await).await;
    let to = Rig::new();
    to.apply([put(&bytes(9, 200_000)), Op::Create]).await;
    let (sum, count) = (to.state.sum().await.unwrap(), keys(&to.engine.image()));

    // Dropped at every chunk of the stream, and when it was complete.
    for len in 0..=chunks.len() {
        let mut sink = to.state.begin_install().await.unwrap();
        for chunk in &chunks[..len] {
            sink.write(chunk.clone()).await.unwrap();
        }
        drop(sink);
    }
    drop(stage(&to, &chunks).await.unwrap());
    wait_for_keys(&to, count).await;
    assert_eq!(to.state.sum().await.unwrap(), sum);

    // Another one may follow.
    let staged = stage(&to, &chunks).await.unwrap();
    install(&to, staged, announced).await.unwrap();
    to.check(Verify::Full).unwrap();
}

#[tokio::test]
async fn a_stream_that_is_not_whole_is_refused() {
    let (_, chunks) = stream(&source().await).await;
    let check = async |what: &str, chunks: &[Bytes]| {
        let to = Rig::new();
        let error = stage(&to, chunks).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{what}: {error}");
        wait_for_keys(&to, 0).await;
    };
    for len in 0..chunks.len() {
        check("cut", &chunks[..len]).await;
        let mut missing = chunks.clone();
        missing.remove(len);
        check("one is missing", &missing).await;
        let mut twice = chunks.clone();
        twice.insert(len, chunks[len].clone());
        check("one comes twice", &twice).await;
        let mut cut = chunks.clone();
        cut[len].truncate(chunks[len].len() - 1);
        check("one is cut", &cut).await;
        let mut flipped = chunks.clone();
        let mut bad = chunks[len].to_vec();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        flipped[len] = bad.into();
        check("a bit is flipped", &flipped).await;
    }
    let mut swapped = chunks.clone();
    swapped.swap(1, 2);
    check("swapped", &swapped).await;
    let mut newer = chunks.clone();
    newer[0] = [&[2], &chunks[0][1..]].concat().into();
    check("of a newer format", &newer).await;
}

#[tokio::test]
async fn a_damaged_source_does_not_spread() {
    let from = source().await;
    let keys = from.engine.image().keys(Table::Chunk);
    damage(&from.engine, Table::Chunk, keys.last().unwrap());
    let mut reader = from.state.snapshot().open().await.unwrap();
    let error = loop {
        match reader.next_chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[tokio::test]
async fn what_was_not_announced_is_not_installed() {
    let from = source().await;
    let ((last, membership_log_id, membership), chunks) = stream(&from).await;
    let other_last = LogId { index: last.index + 1, ..last };
    for announced in [
        (other_last, membership_log_id, membership.clone()),
        (last, None, membership.clone()),
        (last, membership_log_id, Membership::default()),
    ] {
        let to = Rig::new();
        let staged = stage(&to, &chunks).await.unwrap();
        let error = install(&to, staged, announced).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        wait_for_keys(&to, 0).await;
    }
    // Nor what is older than the state.
    let to = Rig::new();
    to.apply((0..13).map(|_| Op::Create)).await;
    let count = keys(&to.engine.image());
    let staged = stage(&to, &chunks).await.unwrap();
    let error = install(&to, staged, (last, membership_log_id, membership)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    wait_for_keys(&to, count).await;
    to.check(Verify::Full).unwrap();
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_the_old_state_or_the_new_one() {
    let from = source().await;
    // So much that it is staged in several batches.
    from.apply([put(&bytes(8, 10_000_000))]).await;
    let (announced, chunks) = stream(&from).await;
    let to = Rig::new();
    to.apply([put(&bytes(9, 200_000)), Op::Create]).await;
    to.state.flush().await.unwrap();
    let (old, new) = (to.state.sum().await.unwrap(), from.state.sum().await.unwrap());
    let (old_keys, new_keys) = (keys(&to.engine.image()), keys(&from.engine.image()) + 1);

    to.engine.record();
    let staged = stage(&to, &chunks).await.unwrap();
    install(&to, staged, announced).await.unwrap();
    let images = to.engine.recorded();
    let mut seen = Vec::new();
    for image in images {
        let crashed = Rig::open(image).unwrap();
        let sum = crashed.state.sum().await.unwrap();
        assert!(sum == old || sum == new);
        seen.push(sum == new);
        // Leftovers of the other state are discarded when it is opened.
        let expected = if sum == new { new_keys } else { old_keys };
        assert_eq!(keys(&crashed.engine.image()), expected);
        crashed.check(Verify::Full).unwrap();
        check_state(crashed.engine.as_ref(), crashed.state.applied(), Verify::Full).unwrap();
    }
    // Old ones, then new ones: the switch is one step, and both sides were seen.
    assert!(seen.is_sorted() && !seen[0] && seen[seen.len() - 1]);
    assert!(seen.iter().filter(|is_new| !**is_new).count() >= 3, "{seen:?}");
}

#[tokio::test]
async fn an_install_that_cannot_be_made_durable_says_so() {
    let (announced, chunks) = stream(&source().await).await;
    let to = Rig::new();
    to.apply([Op::Create]).await;
    to.state.flush().await.unwrap();
    let staged = stage(&to, &chunks).await.unwrap();
    to.disk.is_failing.store(true, Ordering::SeqCst);
    install(&to, staged, announced).await.unwrap_err();
    assert_eq!(to.state.durable_applied(), Some(log_id(0)));
    // What a crash would leave is the old state, whole.
    let crashed = Rig::open(to.engine.durable_image()).unwrap();
    assert_eq!(crashed.state.usage().extent_count, 1);
    crashed.check(Verify::Full).unwrap();
}

#[tokio::test]
async fn a_deleted_partition_takes_nothing() {
    let (announced, chunks) = stream(&source().await).await;
    let to = Rig::new();
    to.apply([Op::Create]).await;
    let complete = stage(&to, &chunks).await.unwrap();
    let mut sink = to.state.begin_install().await.unwrap();
    to.state.close();
    to.state.apply(vec![command(1, None, 0, Op::Create)]).await.unwrap_err();
    install(&to, complete, announced).await.unwrap_err();
    to.engine.record();
    for chunk in chunks {
        sink.write(chunk).await.unwrap();
    }
    // Only now would records be written: the snapshot is smaller than a batch.
    sink.finish().await.unwrap_err();
    let images = to.engine.recorded();
    assert!(images.iter().all(|image| keys(image) <= keys(&images[0])));
    assert_eq!(to.state.usage().extent_count, 1);
}

#[tokio::test]
async fn a_snapshot_is_installed_where_it_was_staged() {
    let (announced, chunks) = stream(&source().await).await;
    let (here, there) = (Rig::new(), Rig::new());
    let staged = stage(&here, &chunks).await.unwrap();
    let error = install(&there, staged, announced).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(there.state.applied(), None);
    wait_for_keys(&here, 0).await;
}
