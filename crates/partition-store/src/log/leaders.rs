//! Who wrote a log: the last entry of each leader.
//!
//! Every start asks for it. Ids of entries never go back, so between two entries of one leader
//! there are only its own, and it is enough to record where each leader began: beside an entry
//! by another leader than the one before it, the writer puts a record of its id. The first
//! entries that are left may be of the leader of the last purged one.

mod records;
mod search;

use std::io;
use std::ops::Range;

use partition_types::{LogId, PartitionId};

use super::inner::LogInner;
use crate::codec::Bounds;
use crate::engine::Read;

pub(crate) use records::first_of_leaders;

/// What there was to ask for.
pub(super) struct Plan {
    pub(super) on_disk: Range<u64>,
    pub(super) bounds: Bounds,
    /// What comes after it, in memory.
    pub(super) in_memory: Leaders,
    /// Of the log when it was looked at.
    epoch: u64,
}

/// The last entry of each leader, as far as the entries were seen, in order.
#[derive(Default)]
pub(super) struct Leaders(Vec<LogId>);

impl Leaders {
    fn see(&mut self, entry: LogId) {
        match self.0.last_mut() {
            Some(last) if last.is_by_leader_of(entry) => *last = entry,
            _ => self.0.push(entry),
        }
    }

    pub(super) fn and_then(mut self, later: Self) -> Vec<LogId> {
        later.0.into_iter().for_each(|entry| self.see(entry));
        self.0
    }
}

impl LogInner {
    pub(super) fn plan_leaders(&self, indexes: &Range<u64>) -> Plan {
        let state = self.state.lock();
        let tail_index = state.tail_index();
        let first_index = state.bounds.entries.map_or(tail_index, |(first, _)| first);
        let mut in_memory = Leaders::default();
        let before = indexes.start.saturating_sub(tail_index);
        let tail = state.tail.iter().skip(usize::try_from(before).unwrap_or(usize::MAX));
        let tail = tail.map(|entry| entry.log_id).take_while(|id| id.index < indexes.end);
        tail.for_each(|id| in_memory.see(id));
        let on_disk = indexes.start.max(first_index)..indexes.end.min(tail_index);
        Plan { on_disk, bounds: state.bounds, in_memory, epoch: state.epoch }
    }

    /// Whether the log is as it was, but for what was appended.
    pub(super) fn is_as_planned(&self, plan: &Plan) -> bool {
        self.state.lock().epoch == plan.epoch
    }
}

/// The leaders of a range of entries on the disk, which is not empty and must all be there.
/// Blocks.
pub(super) fn on_disk(
    raft: &dyn Read,
    id: PartitionId,
    bounds: &Bounds,
    indexes: Range<u64>,
) -> io::Result<Leaders> {
    let recorded = bounds.leaders_from.clamp(indexes.start, indexes.end);
    let mut leaders = search::search(raft, id, indexes.start..recorded)?;
    if recorded < indexes.end {
        records::read(raft, id, bounds, recorded..indexes.end, &mut leaders)?;
    }
    Ok(leaders)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::search::tests::{id, log, plainly};
    use super::*;
    use crate::codec::encode_leader;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Change, Table};
    use crate::keys;

    fn record(index: u64, first: LogId) -> Change {
        let (key, value) = (keys::leader(id(), index), encode_leader(first).into());
        Change::Put { table: Table::LogMeta, key, value }
    }

    /// A log of which `purged` entries are gone, and whose leaders are recorded from an index on.
    fn recorded(
        runs: &[(u64, usize)],
        purged: u64,
        leaders_from: u64,
    ) -> (Arc<MemoryEngine>, Bounds, Vec<LogId>) {
        let (engine, mut ids) = log(0, runs);
        let at = |index: u64| ids.get(usize::try_from(index).unwrap()).copied();
        let last = *ids.last().unwrap();
        let before = purged.checked_sub(1).and_then(at);
        let bounds = Bounds { purged: before, entries: Some((purged, last)), leaders_from };
        for index in purged.max(leaders_from)..=last.index {
            let (first, before) = (at(index).unwrap(), index.checked_sub(1).and_then(at));
            if before.is_none_or(|before| !before.is_by_leader_of(first)) {
                engine.tamper(&record(index, first));
            }
        }
        for index in 0..purged {
            let key = keys::log_entry(id(), index);
            engine.tamper(&Change::Delete { table: Table::Log, key });
        }
        ids.drain(..usize::try_from(purged).unwrap());
        (engine, bounds, ids)
    }

    proptest! {
        #[test]
        fn finds_the_last_entry_of_each(
            runs in prop::collection::vec((1..6u64, Just(3)), 1..30),
            [purged, leaders_from, start, end] in [0..=16u64, 0..=16, 0..=16, 0..=16],
        ) {
            let count: u64 = runs.iter().map(|(count, _)| count).sum();
            let purged = (count - 1) * purged / 16;
            let (engine, bounds, ids) = recorded(&runs, purged, count * leaders_from / 16);
            let share = |share: u64| (count - purged) * share / 16;
            let (start, end) = (share(start.min(end)), share(start.max(end)));
            let part = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            let indexes = purged + start..purged + end;
            let found = on_disk(engine.as_ref(), id(), &bounds, indexes).unwrap().0;
            prop_assert_eq!(found, plainly(&ids[part]));
        }
    }

    #[test]
    fn says_which_record_is_missing_or_wrong() {
        let fails = |purged: u64, change: &dyn Fn(&[LogId]) -> Change| {
            let (engine, bounds, ids) = recorded(&[(4, 3), (4, 3), (4, 3)], purged, 0);
            engine.tamper(&change(&ids));
            let all = purged..12;
            let error = on_disk(engine.as_ref(), id(), &bounds, all).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            error.to_string()
        };
        let lost = |index| {
            let key = keys::leader(id(), index);
            move |_: &[LogId]| Change::Delete { table: Table::LogMeta, key: key.clone() }
        };
        assert_eq!(fails(0, &lost(0)), "log of partition 7: no record of who wrote entry 0");
        let wrong_end = "log of partition 7: it ends with T2-N1.11, and T1-N2.11 by its records";
        assert_eq!(fails(0, &lost(8)), wrong_end);
        assert_eq!(fails(5, &lost(8)), wrong_end);
        let wrong = fails(0, &|ids| record(6, ids[0]));
        let what = "log of partition 7: first entry of a leader: ";
        assert_eq!(wrong, format!("{what}the record has an invalid log index"));
        let wrong = fails(0, &|ids| record(6, LogId { index: 6, ..ids[0] }));
        assert_eq!(wrong, format!("{what}T1-N1.6 after T1-N2.4"));
        let value = bytes::Bytes::from_static(b"?").into();
        let key = keys::leader(id(), 4);
        let wrong = fails(0, &|_| Change::Put {
            table: Table::LogMeta,
            key: key.clone(),
            value: Clone::clone(&value),
        });
        assert!(wrong.starts_with(what), "{wrong}");
    }

    /// What a program left that kept no records is searched; what is appended to it is recorded.
    #[cfg(feature = "rocksdb")]
    #[tokio::test]
    async fn a_log_of_a_program_without_records_goes_on() {
        use crate::engine::rocks::Rocks;
        use crate::engine::{Batch, Durability, Engine, Kind, Mode};
        use crate::lock::DirLock;
        use crate::testing::{entry, partition};
        use crate::{DiskConfig, PartitionStore, Store, StoreConfig, Verify, codec};

        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let store = Store::open(StoreConfig {
                cluster_id: "test".parse().unwrap(),
                node_id: partition_types::NodeId::new(1).unwrap(),
                disks: vec![DiskConfig { path: dir.path().to_owned(), reserve_bytes: 0 }],
                accept_lost_disk: false,
                inject_load_delay: Vec::new(),
            })
            .unwrap();
            store.create(partition(7), Vec::new()).unwrap();
            let replica = store.load(partition(7)).unwrap();
            replica.check(Verify::Full).unwrap();
            (store, replica)
        };
        let append = async |replica: &PartitionStore, terms: &[u64]| {
            let (send, receive) = tokio::sync::oneshot::channel();
            let first = replica.log().bounds().last.map_or(0, |last| last.index + 1);
            let blank = |(index, term): (u64, &u64)| {
                let blank = entry(index, partition_types::Payload::Blank);
                partition_types::Entry { log_id: LogId { term: *term, ..blank.log_id }, ..blank }
            };
            let entries = (first..).zip(terms).map(blank).collect();
            replica.log().append(entries, |done| send.send(done).unwrap()).unwrap();
            receive.await.unwrap().unwrap();
        };
        let leaders = async |replica: &PartitionStore| {
            let found = replica.log().last_of_leaders(0..u64::MAX).await.unwrap();
            found.into_iter().map(|id| (id.term, id.index)).collect::<Vec<_>>()
        };

        let (store, replica) = open();
        append(&replica, &[1, 1, 2, 3, 3]).await;
        drop(replica);
        store.close().unwrap();
        let lock = Arc::new(DirLock::acquire(dir.path()).ok().unwrap());
        let raft = Rocks::open(dir.path(), Kind::Raft, Mode::Existing, lock).unwrap();
        let key = keys::bounds(partition(7));
        let bounds = raft.get(Table::LogMeta, &key).unwrap().unwrap();
        let older = codec::encode_bounds_v1(&codec::decode_bounds(&bounds).unwrap());
        let mut batch = Batch::default();
        batch.put(Table::LogMeta, key, older);
        let records = keys::leaders_from(partition(7), 0);
        batch.delete_range(Table::LogMeta, &records.start, &records.end);
        raft.write(&batch, Durability::Synced).unwrap();
        drop(raft);

        let (store, replica) = open();
        assert_eq!(leaders(&replica).await, [(1, 1), (2, 2), (3, 4)]);
        append(&replica, &[3, 4, 4, 6]).await;
        drop((replica, store));
        let (store, replica) = open();
        assert_eq!(leaders(&replica).await, [(1, 1), (2, 2), (3, 5), (4, 7), (6, 8)]);
        // Back into what has no records.
        let kept = LogId { term: 3, ..entry(3, partition_types::Payload::Blank).log_id };
        replica.log().truncate_after(Some(kept)).await.unwrap();
        append(&replica, &[3, 7]).await;
        drop((replica, store));
        let (store, replica) = open();
        assert_eq!(leaders(&replica).await, [(1, 1), (2, 2), (3, 4), (7, 5)]);
        store.close().unwrap();
    }
}
