//! The partitions of a disk that are in use.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use partition_types::PartitionId;

use crate::log::LogInner;
use crate::state::{self, PartitionState};

/// Handles that somebody has. They are not kept alive from here.
#[derive(Default)]
pub(crate) struct Loaded(Mutex<BTreeMap<PartitionId, Handles>>);

struct Handles {
    log: Weak<LogInner>,
    state: Weak<state::Shared>,
}

impl Handles {
    fn state(&self) -> Option<PartitionState> {
        self.state.upgrade().map(|shared| PartitionState { shared })
    }
}

impl Loaded {
    pub(crate) fn get(&self, id: PartitionId) -> (Option<Arc<LogInner>>, Option<PartitionState>) {
        match self.0.lock().get(&id) {
            Some(handles) => (handles.log.upgrade(), handles.state()),
            None => (None, None),
        }
    }

    /// Whether the partition was in use since the start, even if it is not now.
    pub(crate) fn was_loaded(&self, id: PartitionId) -> bool {
        self.0.lock().contains_key(&id)
    }

    /// Remembers handles, and returns those to use: others' if these came late.
    pub(crate) fn put(
        &self,
        id: PartitionId,
        log: Arc<LogInner>,
        state: PartitionState,
    ) -> (Arc<LogInner>, PartitionState) {
        let mut loaded = self.0.lock();
        let (log, state) = match loaded.get(&id) {
            Some(handles) => {
                (handles.log.upgrade().unwrap_or(log), handles.state().unwrap_or(state))
            }
            None => (log, state),
        };
        let handles = Handles { log: Arc::downgrade(&log), state: Arc::downgrade(&state.shared) };
        loaded.insert(id, handles);
        (log, state)
    }

    /// Forgets a partition, and returns its log if that is in use.
    pub(crate) fn remove(&self, id: PartitionId) -> Option<Arc<LogInner>> {
        self.0.lock().remove(&id).and_then(|handles| handles.log.upgrade())
    }

    pub(crate) fn logs(&self) -> Vec<Arc<LogInner>> {
        self.0.lock().values().filter_map(|handles| handles.log.upgrade()).collect()
    }

    pub(crate) fn states(&self) -> Vec<PartitionState> {
        self.0.lock().values().filter_map(Handles::state).collect()
    }
}
