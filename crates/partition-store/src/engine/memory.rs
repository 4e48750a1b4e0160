//! An engine in memory that loses what was not flushed, for the tests of this
//! crate. It keeps whole images, so that a test can look at what any crash
//! would have left.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::image::Image;
use super::{Batch, Change, Durability, Engine, EngineError, Read, Table, Visit};

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
