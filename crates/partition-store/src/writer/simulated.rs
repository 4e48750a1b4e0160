//! The log writer without its thread, for a simulator: a task takes each batch
//! through the same steps, with time between them in which the power may go.
//!
//! Who must not wait for the task, because both share one thread, takes the
//! steps that are due himself.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{BATCH_BYTES, Counters, LogWriter, Op, Queue, Writing};
use crate::disk::Health;
use crate::engine::Engine;
use crate::engine::simulated::MemoryDisk;
use crate::log::Recent;
use crate::metric::WriterMetrics;

/// The writer's work, step by step.
pub(super) struct Steps {
    work: Arc<Mutex<Work>>,
    more: Arc<Notify>,
}

struct Work {
    writing: Writing,
    /// Taken from the queue, and not answered.
    taken: Option<Vec<Op>>,
    /// What writing them came to; `None` while they are not written.
    written: Option<std::io::Result<()>>,
}

impl LogWriter {
    /// A writer whose steps a task takes, in the disk's time.
    pub(crate) fn simulated(
        disk: MemoryDisk,
        engine: Arc<dyn Engine>,
        health: Arc<Health>,
        recent: Recent,
        metrics: WriterMetrics,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let counters = Arc::new(Counters::default());
        let writing = Writing {
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            engine,
            health,
            recent,
            marker: None,
            marked_at: std::time::Instant::now(),
            is_unmarked: false,
            metrics,
        };
        let work = Arc::new(Mutex::new(Work { writing, taken: None, written: None }));
        let steps = Steps { work: Arc::clone(&work), more: Arc::default() };
        tokio::spawn(run(disk, Arc::downgrade(&work), Arc::clone(&steps.more)));
        Self { queue, counters, thread: Mutex::default(), simulated: Some(steps) }
    }
}

/// Takes one step after the other, until the writer is gone.
async fn run(disk: MemoryDisk, work: std::sync::Weak<Mutex<Work>>, more: Arc<Notify>) {
    loop {
        more.notified().await;
        loop {
            let Some(strong) = work.upgrade() else { return };
            if !strong.lock().take() {
                break;
            }
            drop(strong);
            // Not durable yet.
            tokio::time::sleep(disk.sync_time()).await;
            let Some(strong) = work.upgrade() else { return };
            strong.lock().write();
            drop(strong);
            // Durable, and nobody was told.
            tokio::time::sleep(disk.sync_time()).await;
            let Some(strong) = work.upgrade() else { return };
            strong.lock().answer();
        }
    }
}

impl Steps {
    pub(super) fn wake(&self) {
        self.more.notify_one();
    }

    /// Takes all steps there are, at once.
    pub(super) fn run_all(&self) {
        let mut work = self.work.lock();
        work.finish();
        while work.take() {
            work.finish();
        }
    }
}

impl Work {
    /// Whether there is a batch to write; one at a time.
    fn take(&mut self) -> bool {
        if self.taken.is_none() {
            self.taken = self.writing.queue.take_now(BATCH_BYTES);
            self.written = None;
        }
        self.taken.is_some()
    }

    fn write(&mut self) {
        if let (Some(ops), None) = (&self.taken, &self.written) {
            self.written = Some(self.writing.write(ops));
        }
    }

    fn answer(&mut self) {
        let (Some(ops), Some(result)) = (self.taken.take(), self.written.take()) else { return };
        for op in ops {
            self.writing.answer(op, &result);
        }
        self.writing.recent.trim();
    }

    fn finish(&mut self) {
        self.write();
        self.answer();
    }
}
