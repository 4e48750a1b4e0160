//! The partitions of a disk that are or were in use.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use partition_types::PartitionId;

use crate::log::LogInner;
use crate::state::{self, PartitionState};

/// What was loaded since the start.
///
/// Logs are kept, a few hundred bytes each: one may have a commit index that the
/// disk does not have yet, when nobody holds it any more. States are not.
#[derive(Default)]
pub(crate) struct Loaded(Mutex<BTreeMap<PartitionId, Handles>>);

struct Handles {
    log: Arc<LogInner>,
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
            Some(handles) => (Some(Arc::clone(&handles.log)), handles.state()),
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
            Some(handles) => (Arc::clone(&handles.log), handles.state().unwrap_or(state)),
            None => (log, state),
        };
        let handles = Handles { log: Arc::clone(&log), state: Arc::downgrade(&state.shared) };
        loaded.insert(id, handles);
        (log, state)
    }

    /// Forgets a partition, and returns what is left of it.
    pub(crate) fn remove(
        &self,
        id: PartitionId,
    ) -> (Option<Arc<LogInner>>, Option<PartitionState>) {
        match self.0.lock().remove(&id) {
            Some(handles) => {
                let state = handles.state();
                (Some(handles.log), state)
            }
            None => (None, None),
        }
    }

    pub(crate) fn logs(&self) -> Vec<Arc<LogInner>> {
        self.0.lock().values().map(|handles| Arc::clone(&handles.log)).collect()
    }

    pub(crate) fn states(&self) -> Vec<PartitionState> {
        self.0.lock().values().filter_map(Handles::state).collect()
    }
}
