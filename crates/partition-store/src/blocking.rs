//! Threads for work that blocks: a few per disk, named, made once.
//!
//! No call of the engine runs on a runtime's worker, and no amount of waiting
//! work makes more threads.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The pools of a disk. Reads and applies wait for their own kind only.
pub(crate) struct Pools {
    pub(crate) reads: Pool,
    pub(crate) applies: Pool,
    #[cfg(any(test, feature = "simulation"))]
    simulated: Option<crate::engine::simulated::MemoryDisk>,
}

impl Pools {
    /// Makes the threads.
    pub(crate) fn start(disk: usize) -> io::Result<Self> {
        Ok(Self {
            reads: Pool::start(&format!("store{disk}-read"), READERS)?,
            applies: Pool::start(&format!("store{disk}-apply"), APPLIERS)?,
            #[cfg(any(test, feature = "simulation"))]
            simulated: None,
        })
    }

    /// Pools without threads, for a simulator: the runtime's one thread does all
    /// work, some time later, by the disk's pace.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn simulated(disk: &crate::engine::simulated::MemoryDisk) -> Self {
        let pool = || Pool {
            queue: Arc::default(),
            threads: Mutex::default(),
            simulated: Some(disk.clone()),
        };
        Self { reads: pool(), applies: pool(), simulated: Some(disk.clone()) }
    }

    /// Whether there are no threads: what would wait for one must not.
    pub(crate) const fn is_simulated(&self) -> bool {
        #[cfg(any(test, feature = "simulation"))]
        {
            self.simulated.is_some()
        }
        #[cfg(not(any(test, feature = "simulation")))]
        {
            false
        }
    }

    /// Runs rare, long work on a thread that nobody else waits for.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    ///
    /// # Panics
    /// When `work` panics.
    ///
    /// # Cancel safety
    /// A call that was dropped still does its work.
    pub(crate) async fn long<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.is_simulated() {
            return self.reads.run(work).await;
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => Ok(value),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(io::Error::other("the runtime is shutting down")),
            },
        }
    }

    /// Ends the threads when they have done what is queued.
    pub(crate) fn stop(&self) {
        self.reads.stop();
        self.applies.stop();
    }
}

/// Enough to keep a fast disk busy with 128 KiB reads.
const READERS: usize = 4;
/// Applying is copying into a memtable: more threads than cores gain nothing.
const APPLIERS: usize = 2;

/// Some threads and the work that waits for them.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(any(test, feature = "simulation"))]
    simulated: Option<crate::engine::simulated::MemoryDisk>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_stopped: bool,
}

impl Pool {
    /// Makes `count` threads.
    pub(crate) fn start(name: &str, count: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let threads = (0..count)
            .map(|nth| {
                let queue = Arc::clone(&queue);
                thread::Builder::new().name(format!("{name}{nth}")).spawn(move || queue.work())
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            queue,
            threads: Mutex::new(threads),
            #[cfg(any(test, feature = "simulation"))]
            simulated: None,
        })
    }

    /// Runs `work` on one of the threads.
    ///
    /// # Errors
    /// When the pool is stopped.
    ///
    /// # Panics
    /// When `work` panics.
    ///
    /// # Cancel safety
    /// A call that was dropped still does its work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (send, receive) = oneshot::channel();
        self.queue.push(Box::new(move || {
            // Who asked may be gone; the thread must not go with a panic.
            let _ = send.send(catch_unwind(AssertUnwindSafe(work)));
        }))?;
        #[cfg(any(test, feature = "simulation"))]
        if let Some(disk) = &self.simulated {
            let (queue, time) = (Arc::clone(&self.queue), disk.read_time());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                queue.work_once();
            });
        }
        match receive.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(stopped()),
        }
    }

    /// Ends the threads when they have done what is queued, and waits for that
    /// unless it is one of them that asks.
    pub(crate) fn stop(&self) {
        self.queue.waiting.lock().is_stopped = true;
        self.queue.changed.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.thread().id() != thread::current().id() {
                // Jobs catch their panics: there is none to pass on.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Queue {
    fn push(&self, job: Job) -> io::Result<()> {
        {
            let mut waiting = self.waiting.lock();
            if waiting.is_stopped {
                return Err(stopped());
            }
            waiting.jobs.push_back(job);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Does the job that waits longest, if any.
    #[cfg(any(test, feature = "simulation"))]
    fn work_once(&self) {
        let job = self.waiting.lock().jobs.pop_front();
        if let Some(job) = job {
            job();
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    /// `None` when there is no more and never will be.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.is_stopped {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the store is closed")
}
