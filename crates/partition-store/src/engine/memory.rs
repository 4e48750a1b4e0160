//! An engine in memory that loses what was not flushed, for the tests of this
//! crate. It keeps whole images, so that a test can look at what any crash
//! would have left.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, Change, Durability, Engine, EngineError, Read, Table, Visit};

type Content = BTreeMap<(Table, Vec<u8>), Bytes>;

/// The content at one moment.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Image(Arc<Content>);

impl Image {
    pub(crate) fn keys(&self, table: Table) -> Vec<Vec<u8>> {
        self.0.keys().filter(|(t, _)| *t == table).map(|(_, key)| key.clone()).collect()
    }

    fn range(
        &self,
        table: Table,
        range: Range<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        // An empty range may be upside down, which a map does not take.
        let end = range.end.max(range.start);
        self.0
            .range((table, range.start.to_vec())..(table, end.to_vec()))
            .map(|((_, key), value)| (key.as_slice(), value.as_ref()))
    }

    fn change(&mut self, change: &Change) {
        let content = Arc::make_mut(&mut self.0);
        match change {
            Change::Put { table, key, value } => {
                let mut bytes = Vec::new();
                value.write_to(&mut bytes);
                content.insert((*table, key.clone()), bytes.into());
            }
            Change::Delete { table, key } => {
                content.remove(&(*table, key.clone()));
            }
            Change::DeleteRange { table, from, to } => {
                content.retain(|(t, key), _| t != table || !(from..to).contains(&key));
            }
        }
    }
}

impl Read for Image {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        for (key, value) in self.range(table, range) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        for (key, value) in self.range(table, range).rev() {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The engine.
#[derive(Default)]
pub(crate) struct MemoryEngine {
    now: Mutex<Image>,
    durable: Mutex<Image>,
    /// The image after each write, while recording.
    history: Mutex<Option<Vec<Image>>>,
    is_failing: AtomicBool,
}

impl MemoryEngine {
    /// Opens on what an earlier one left.
    pub(crate) fn open(image: Image) -> Arc<Self> {
        let engine = Self::default();
        *engine.now.lock() = image.clone();
        *engine.durable.lock() = image;
        Arc::new(engine)
    }

    /// What there is now.
    pub(crate) fn image(&self) -> Image {
        self.now.lock().clone()
    }

    /// What a crash would leave.
    pub(crate) fn durable_image(&self) -> Image {
        self.durable.lock().clone()
    }

    /// Keeps the image after each write from now on: a crash may leave any of
    /// them, since the engine may flush whenever it likes.
    pub(crate) fn record(&self) {
        *self.history.lock() = Some(vec![self.image()]);
    }

    /// The images since `record`.
    pub(crate) fn recorded(&self) -> Vec<Image> {
        self.history.lock().take().unwrap_or_default()
    }

    /// Lets every write from now on fail.
    pub(crate) fn fail_writes(&self) {
        self.is_failing.store(true, Ordering::SeqCst);
    }

    /// Changes stored bytes behind everybody's back.
    pub(crate) fn tamper(&self, change: &Change) {
        self.now.lock().change(change);
    }
}

impl Read for MemoryEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.image().get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.image().scan(table, range, visit)
    }

    fn scan_back(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.image().scan_back(table, range, visit)
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        if self.is_failing.load(Ordering::SeqCst) {
            return Err(EngineError::Disk("told to fail".into()));
        }
        let mut now = self.now.lock();
        for change in batch.changes() {
            now.change(change);
        }
        if durability == Durability::Synced {
            *self.durable.lock() = now.clone();
        }
        if let Some(history) = self.history.lock().as_mut() {
            history.push(now.clone());
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        let now = self.now.lock();
        *self.durable.lock() = now.clone();
        Ok(())
    }

    fn reclaim(&self, _: Table, _: Range<&[u8]>) -> Result<(), EngineError> {
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn Read + '_> {
        Box::new(self.image())
    }
}
