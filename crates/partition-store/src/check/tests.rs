//! Everything that can be wrong is found, and nothing else is.

use bytes::Bytes;
use partition_types::{Crc32c, Op};

use super::{CheckError, Verify};
use crate::codec;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Change, Read, Table};
use crate::state::{ExtentRecord, Space, StateRecord, View, Visibility};
use crate::testing::{
    Rig, append, bytes, command, delete, extent, partition, put, request, stage_part, write,
};

/// Flips a bit in the middle of a stored value.
pub(crate) fn damage(engine: &MemoryEngine, table: Table, key: &[u8]) {
    let value = engine.get(table, key).unwrap().expect("it is there");
    let mut value = value.to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 4;
    engine.tamper(&Change::Put { table, key: key.to_vec(), value: value.into() });
}

/// A partition with something of everything.
async fn rig() -> Rig {
    let rig = Rig::new();
    rig.apply([
        Op::Create,
        append(1, &bytes(1, 300_000)),
        write(1, 100, &bytes(2, 50)),
        write(1, 131_000, &bytes(3, 500)),
        put(&bytes(4, 10)),
        Op::Stage,
        stage_part(3, 1000, &bytes(5, 200_000)),
        Op::Create,
        delete(&[4]),
        put(&bytes(6, 20)),
    ])
    .await;
    let named = command(10, Some(request(1)), 0, Op::Create);
    rig.state.apply(vec![named]).await.unwrap();
    rig
}

#[tokio::test]
async fn a_sound_partition_passes() {
    let rig = rig().await;
    for verify in [Verify::None, Verify::Sample, Verify::Full] {
        rig.check(verify).unwrap();
    }
    let checked = rig.check(Verify::Full).unwrap();
    assert_eq!(checked.extents, 5);
    assert_eq!(checked.chunks, rig.engine.image().keys(Table::Chunk).len() as u64);
    Rig::new().check(Verify::Full).unwrap();
}

#[tokio::test]
async fn every_damaged_value_is_found() {
    let sound = rig().await;
    for table in [Table::StateMeta, Table::Chunk] {
        for key in sound.engine.image().keys(table) {
            let rig = Rig::open(sound.engine.image()).unwrap();
            damage(&rig.engine, table, &key);
            rig.check(Verify::Full).expect_err("a bit is flipped");
        }
    }
}

#[tokio::test]
async fn every_missing_and_every_additional_value_is_found() {
    let sound = rig().await;
    for table in [Table::StateMeta, Table::Chunk] {
        for key in sound.engine.image().keys(table) {
            let rig = Rig::open(sound.engine.image()).unwrap();
            rig.engine.tamper(&Change::Delete { table, key: key.clone() });
            rig.check(Verify::Full).expect_err("a value is missing");

            // The same value under the key after it, and one of an extent, an
            // index, or a request that is not there.
            let value = sound.engine.get(table, &key).unwrap().expect("it is there");
            for at in [1, 9] {
                let mut key = key.clone();
                let Some(at) = key.len().checked_sub(at).filter(|at| *at > 12) else { continue };
                key[at] = key[at].wrapping_add(100);
                let rig = Rig::open(sound.engine.image()).unwrap();
                rig.engine.tamper(&Change::Put { table, key, value: value.clone().into() });
                rig.check(Verify::Full).expect_err("a value too many");
            }
        }
    }
}

/// Puts a record of the right form in the place of another.
fn replace(rig: &Rig, key: Vec<u8>, value: Bytes) {
    rig.engine.tamper(&Change::Put { table: Table::StateMeta, key, value: value.into() });
}

const SPACE: fn() -> Space = || Space::new(partition(7), 1);

#[tokio::test]
async fn a_state_that_counts_wrongly_is_found() {
    let sound = rig().await;
    let state = View::current(sound.engine.as_ref(), partition(7)).unwrap().state().unwrap();
    let lies: [fn(&mut StateRecord); 6] = [
        |state| state.extent_count += 1,
        |state| state.staged_count -= 1,
        |state| state.size_bytes += 1,
        |state| state.request_count += 1,
        |state| state.request_floor += 100,
        |state| state.next_extent_id = 6,
    ];
    for (nth, lie) in lies.into_iter().enumerate() {
        let rig = Rig::open(sound.engine.image()).unwrap();
        let mut state = state.clone();
        lie(&mut state);
        replace(&rig, SPACE().state(), codec::encode_state(&state));
        rig.check(Verify::Full).expect_err(&format!("lie {nth}"));
    }
}

#[tokio::test]
async fn an_extent_that_is_not_what_it_says_is_found() {
    let sound = rig().await;
    type Lie = fn(&mut ExtentRecord);
    let lies: [(u64, Lie); 6] = [
        (2, |extent| extent.sealed_crc32c = Some(Crc32c::of(b"something else"))),
        (2, |extent| extent.running_crc32c = Some(Crc32c::of(b"something else"))),
        (1, |extent| extent.size += 1),
        (1, |extent| extent.stored_bytes -= 1),
        (1, |extent| (extent.size, extent.stored_bytes) = (extent.size - 1, extent.size - 1)),
        (1, |extent| extent.next_chunk_id = 2),
    ];
    for (nth, (id, lie)) in lies.into_iter().enumerate() {
        let rig = Rig::open(sound.engine.image()).unwrap();
        let view = View::current(sound.engine.as_ref(), partition(7)).unwrap();
        let mut record = view.extent(extent(id), Visibility::Visible).unwrap().unwrap();
        lie(&mut record);
        let key = SPACE().extent(extent(id), Visibility::Visible);
        replace(&rig, key, codec::encode_extent(&record));
        rig.check(Verify::Full).expect_err(&format!("lie {nth}"));
    }
}

#[tokio::test]
async fn leftovers_between_extents_are_found() {
    let sound = rig().await;
    // Extent 4 is deleted; extent 3 and 5 are there.
    for (table, of_3, of_4) in [
        (Table::StateMeta, SPACE().run(extent(3), 1000), SPACE().run(extent(4), 1000)),
        (Table::Chunk, SPACE().chunk(extent(3), 1), SPACE().chunk(extent(4), 1)),
    ] {
        let rig = Rig::open(sound.engine.image()).unwrap();
        let value = sound.engine.get(table, &of_3).unwrap().expect("it is there");
        rig.engine.tamper(&Change::Put { table, key: of_4, value: value.into() });
        rig.check(Verify::Full).expect_err("bytes of nobody");
    }
}

#[tokio::test]
async fn a_sample_reads_payload() {
    let rig = Rig::new();
    rig.apply([put(&bytes(1, 1000))]).await;
    rig.check(Verify::Sample).unwrap();
    damage(&rig.engine, Table::Chunk, &rig.engine.image().keys(Table::Chunk)[0]);
    rig.check(Verify::None).unwrap();
    assert!(matches!(rig.check(Verify::Sample), Err(CheckError::Damaged(_))));
}

#[tokio::test]
async fn an_unreadable_state_does_not_open() {
    let rig = rig().await;
    let key = rig.engine.image().keys(Table::StateMeta).into_iter().find(|key| key[12] == b's');
    damage(&rig.engine, Table::StateMeta, &key.unwrap());
    assert!(Rig::open(rig.engine.image()).is_err());
    assert!(matches!(rig.check(Verify::None), Err(CheckError::Record { .. })));
}

mod log {
    //! The log against the state.

    use partition_types::{LogId, Payload};

    use super::*;
    use crate::check::check_partition;
    use crate::codec::Bounds;
    use crate::engine::image::Image;
    use crate::engine::{Batch, Durability, Engine};
    use crate::keys;
    use crate::testing::{entry, log_id};

    struct Log {
        purged: Option<u64>,
        entries: std::ops::Range<u64>,
        missing: Option<u64>,
        damaged: Option<u64>,
        /// What the bounds say of the last entry.
        last_term: u64,
        /// The entries that are recorded as a leader's first, and from where on each is.
        leaders: &'static [u64],
        leaders_from: u64,
    }

    const SOUND: Log = Log {
        purged: Some(4),
        entries: 5..60,
        missing: None,
        damaged: None,
        last_term: 3,
        leaders: &[],
        leaders_from: 0,
    };

    /// Checks a log whose state has ten entries applied, at each level.
    async fn check(log: Log) -> [Result<(), String>; 3] {
        let rig = Rig::new();
        rig.apply((0..10).map(|_| Op::Create)).await;
        let raft = MemoryEngine::open(Image::default());
        let mut batch = Batch::default();
        let last = log.entries.end.checked_sub(1).filter(|last| *last >= log.entries.start);
        let bounds = Bounds {
            purged: log.purged.map(log_id),
            entries: last
                .map(|last| (log.entries.start, LogId { term: log.last_term, ..log_id(last) })),
            leaders_from: log.leaders_from,
        };
        for index in log.leaders {
            let record = codec::encode_leader(log_id(*index));
            batch.put(Table::LogMeta, keys::leader(partition(7), *index), record);
        }
        let key = keys::bounds(partition(7));
        batch.put(Table::LogMeta, key, codec::encode_bounds(&bounds));
        for index in log.entries.filter(|index| log.missing != Some(*index)) {
            let record = codec::encode_entry(&entry(index, Payload::Blank));
            batch.put(Table::Log, keys::log_entry(partition(7), index), record);
        }
        raft.write(&batch, Durability::Synced).unwrap();
        if let Some(index) = log.damaged {
            damage(&raft, Table::Log, &keys::log_entry(partition(7), index));
        }
        [Verify::None, Verify::Sample, Verify::Full].map(|verify| {
            check_partition(raft.as_ref(), rig.engine.as_ref(), partition(7), verify)
                .map(|_| ())
                .map_err(|error| error.to_string())
        })
    }

    async fn check_fails(log: Log, expected: [Option<&str>; 3]) {
        let found = check(log).await.map(Result::err);
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
    }

    #[tokio::test]
    async fn sound_logs_pass() {
        let all = [Ok(()), Ok(()), Ok(())];
        assert_eq!(check(SOUND).await, all);
        assert_eq!(check(Log { purged: None, entries: 0..10, leaders: &[0], ..SOUND }).await, all);
        let older = Log { purged: None, entries: 0..10, leaders_from: 10, ..SOUND };
        assert_eq!(check(older).await, all);
        // Of what was purged.
        assert_eq!(check(Log { leaders: &[0, 4], ..SOUND }).await, all);
        assert_eq!(check(Log { purged: Some(9), entries: 0..0, ..SOUND }).await, all);
        assert_eq!(check(Log { purged: Some(9), entries: 10..11, ..SOUND }).await, all);
    }

    #[tokio::test]
    async fn watermarks_are_in_order() {
        let everywhere = |text| [Some(text), Some(text), Some(text)];
        check_fails(
            Log { purged: Some(10), entries: 11..12, ..SOUND },
            everywhere("purged T3-N1.10 is after applied T3-N1.9"),
        )
        .await;
        check_fails(
            Log { entries: 5..9, ..SOUND },
            everywhere("applied T3-N1.9 is after last T3-N1.8"),
        )
        .await;
        check_fails(
            Log { purged: None, entries: 0..0, ..SOUND },
            everywhere("applied T3-N1.9 is after last none"),
        )
        .await;
    }

    #[tokio::test]
    async fn gaps_are_found() {
        check_fails(Log { entries: 6..60, ..SOUND }, [Some("log entry 5 is missing"); 3]).await;
        let gap = |missing| Log { missing: Some(missing), ..SOUND };
        check_fails(gap(59), [Some("log entry 59 is missing"); 3]).await;
        let found = Some("log entry 50 is missing");
        check_fails(gap(50), [None, found, found]).await;
        check_fails(gap(20), [None, None, Some("log entry 20 is missing")]).await;
    }

    #[tokio::test]
    async fn the_last_entry_is_the_one_of_the_bounds() {
        let text = "bounds' last T4-N1.59 is not entries' last T3-N1.59";
        check_fails(Log { last_term: 4, ..SOUND }, [Some(text); 3]).await;
    }

    #[tokio::test]
    async fn records_of_leaders_are_the_ones_of_the_entries() {
        let text = "the log's next leader begins at T3-N1.0, and its record says none";
        let unrecorded = Log { purged: None, entries: 0..10, ..SOUND };
        check_fails(unrecorded, [None, None, Some(text)]).await;
        for (leaders, index) in [(&[20], 20), (&[60], 60)] {
            let text =
                format!("the log's next leader begins at none, and its record says T3-N1.{index}");
            check_fails(Log { leaders, ..SOUND }, [None, None, Some(&text)]).await;
        }
    }

    #[tokio::test]
    async fn damaged_entries_are_found() {
        let bad = |damaged| Log { damaged: Some(damaged), ..SOUND };
        check_fails(bad(59), [Some("log entry 59 is damaged"); 3]).await;
        check_fails(bad(20), [None, None, Some("log entry 20 is damaged")]).await;
    }
}
