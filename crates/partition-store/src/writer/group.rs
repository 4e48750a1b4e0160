//! Many operations as one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use partition_types::PartitionId;

use super::Op;
use crate::codec::{self, Bounds};
use crate::engine::{Batch, Change, Table};
use crate::keys;
use crate::log::LogInner;

/// A batch, and what it is made of.
#[derive(Default)]
pub(super) struct Group {
    pub(super) batch: Batch,
    /// Somebody waits until it is durable.
    pub(super) is_waited_for: bool,
    /// It has changes of the manifest.
    pub(super) is_manifest_changed: bool,
    /// Appends and votes.
    pub(super) operations: usize,
    pub(super) entries: usize,
}

/// The logs of a group, with their bounds after it where it changes them.
type Touched<'a> = BTreeMap<PartitionId, (&'a Arc<LogInner>, Option<Bounds>)>;

impl Group {
    pub(super) fn of(ops: &[Op]) -> Self {
        let mut group = Self::default();
        let mut touched = Touched::new();
        for op in ops {
            group.add(op, &mut touched);
        }
        // One record a log, however many appends it had.
        for (id, (log, bounds)) in touched {
            let is_changed = bounds.is_some();
            let (bounds, committed) = log.writing(bounds);
            if is_changed {
                group.batch.put(Table::LogMeta, keys::bounds(id), codec::encode_bounds(&bounds));
            }
            if let Some(committed) = committed {
                let record = codec::encode_committed(committed);
                group.batch.put(Table::LogMeta, keys::committed(id), record);
            }
        }
        group
    }

    fn add<'a>(&mut self, op: &'a Op, touched: &mut Touched<'a>) {
        match op {
            Op::Append { log, before, entries, bounds, .. } => {
                let mut before = *before;
                for entry in entries {
                    let log_id = entry.log_id;
                    let key = keys::log_entry(log.id, log_id.index);
                    self.batch.put(Table::Log, key, codec::entry_value(entry));
                    if before.is_none_or(|before| !before.is_by_leader_of(log_id)) {
                        let key = keys::leader(log.id, log_id.index);
                        self.batch.put(Table::LogMeta, key, codec::encode_leader(log_id));
                    }
                    before = Some(log_id);
                }
                self.entries += entries.len();
                self.operations += 1;
                self.is_waited_for = true;
                touched.insert(log.id, (log, Some(*bounds)));
            }
            Op::Vote { log, vote, done } => {
                self.batch.put(Table::LogMeta, keys::vote(log.id), codec::encode_vote(vote));
                self.operations += 1;
                self.is_waited_for |= done.is_some();
                #[cfg(feature = "planted")]
                if crate::planted::is_planted(crate::planted::Bug::VoteLost) {
                    self.is_waited_for = false;
                }
                touched.entry(log.id).or_insert((log, None));
            }
            Op::Truncate { log, from_index, bounds } => {
                let range = keys::log_entries_from(log.id, *from_index);
                self.batch.delete_range(Table::Log, &range.start, &range.end);
                let range = keys::leaders_from(log.id, *from_index);
                self.batch.delete_range(Table::LogMeta, &range.start, &range.end);
                touched.insert(log.id, (log, Some(*bounds)));
            }
            Op::Purge { log, dropped, leaders, bounds } => {
                if !dropped.is_empty() {
                    let range = keys::log_entries(log.id, dropped.clone());
                    self.batch.delete_range(Table::Log, &range.start, &range.end);
                }
                if !leaders.is_empty() {
                    let range = keys::leaders(log.id, leaders.clone());
                    self.batch.delete_range(Table::LogMeta, &range.start, &range.end);
                }
                touched.insert(log.id, (log, Some(*bounds)));
            }
            Op::Write { batch, .. } => {
                self.is_waited_for = true;
                self.is_manifest_changed = true;
                for change in batch.changes() {
                    self.add_change(change);
                }
            }
            Op::Sync { logs, .. } => {
                self.is_waited_for = true;
                for log in logs {
                    touched.entry(log.id).or_insert((log, None));
                }
            }
        }
    }

    fn add_change(&mut self, change: &Change) {
        match change {
            Change::Put { table, key, value } => self.batch.put(*table, key.clone(), value.clone()),
            Change::Delete { table, key } => self.batch.delete(*table, key.clone()),
            Change::DeleteRange { table, from, to } => self.batch.delete_range(*table, from, to),
        }
    }
}
