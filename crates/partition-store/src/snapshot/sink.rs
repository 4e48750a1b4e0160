//! The receiving side: a thread that stages the stream beside the current
//! state and owns what it staged until it is installed or dropped.

use std::sync::{Arc, Weak};
use std::{fmt, io};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::receive::Receiver;
use crate::state::{PartitionState, Shared, Space, StateRecord, generation};

/// Received records are written when they are about this large.
const BATCH_LEN: usize = 4 * 1024 * 1024;

/// Takes a snapshot stream, chunk by chunk as the reader gave them. Dropping
/// it discards what was taken.
#[derive(Debug)]
pub struct SnapshotSink {
    thread: mpsc::Sender<Step>,
}

/// A complete snapshot beside the current state. Dropping it discards it.
pub struct StagedSnapshot {
    /// Beside whose state it is.
    pub(super) beside: Weak<Shared>,
    pub(super) space: Space,
    pub(super) state: StateRecord,
    /// Told that the generation is in use; when it is dropped untold, the
    /// thread at the other end discards the generation.
    pub(super) installed: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Step {
    Write(Bytes, oneshot::Sender<io::Result<()>>),
    Finish(oneshot::Sender<io::Result<StagedSnapshot>>),
}

impl PartitionState {
    /// Begins to take a snapshot from another replica. The current state stays
    /// as it is until [`PartitionState::install`].
    ///
    /// # Errors
    /// When no thread can be started.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing behind.
    // Async by contract: staging may come to need the disk before it begins.
    #[allow(clippy::unused_async)]
    pub async fn begin_install(&self) -> io::Result<SnapshotSink> {
        let shared = Arc::clone(&self.shared);
        let (thread, steps) = mpsc::channel(1);
        if shared.pools.is_simulated() {
            tokio::spawn(async move { stage(&shared, steps).await });
        } else {
            let runtime = tokio::runtime::Handle::current();
            std::thread::Builder::new()
                .name(format!("snap-in-{}", shared.id))
                .spawn(move || runtime.block_on(stage(&shared, steps)))?;
        }
        Ok(SnapshotSink { thread })
    }
}

impl SnapshotSink {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// `InvalidData` when the chunk is damaged, out of place or of a newer
    /// format; else when the disk fails. The sink takes no more then.
    ///
    /// # Cancel safety
    /// Not cancel safe: whether a dropped call took the chunk is not known, and
    /// the sink must be dropped too.
    pub async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.thread.send(Step::Write(chunk, done)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Ends the stream: it must be complete.
    ///
    /// # Errors
    /// `InvalidData` when it is not; else when the disk fails.
    ///
    /// # Cancel safety
    /// A dropped call discards the snapshot.
    pub async fn finish(self) -> io::Result<StagedSnapshot> {
        let (done, answer) = oneshot::channel();
        self.thread.send(Step::Finish(done)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl fmt::Debug for StagedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedSnapshot")
            .field("space", &self.space)
            .field("last", &self.state.applied)
            .finish_non_exhaustive()
    }
}

fn gone() -> io::Error {
    io::Error::other("the snapshot was refused before")
}

/// The thread's work: stage, and discard unless it was installed. It waits for
/// the stream only; what it does in between blocks.
async fn stage(shared: &Arc<Shared>, mut steps: mpsc::Receiver<Step>) {
    let space = shared.machine.lock().reserve_generation();
    let mut stage = Stage { shared, receiver: Receiver::new(space), is_begun: false };
    let mut is_installed = false;
    while let Some(step) = steps.recv().await {
        match step {
            Step::Write(chunk, done) => {
                let written = stage.write(chunk);
                let is_refused = written.is_err();
                // Who gave up waiting drops the sink, which ends the loop.
                let _ = done.send(written);
                if is_refused {
                    break;
                }
            }
            Step::Finish(done) => {
                let (installed, verdict) = oneshot::channel();
                let finished = stage.finish().map(|state| StagedSnapshot {
                    beside: Arc::downgrade(shared),
                    space,
                    state,
                    installed,
                });
                let _ = done.send(finished);
                is_installed = verdict.await.is_ok();
                break;
            }
        }
    }
    if stage.is_begun
        && !is_installed
        && let Err(error) = generation::discard(shared.engine.as_ref(), space)
    {
        // Not lost sight of: opening the partition discards it.
        tracing::warn!(partition = %shared.id, %error, "discard a staged snapshot failed");
    }
}

struct Stage<'a> {
    shared: &'a Shared,
    receiver: Receiver,
    /// Whether anything was written under the generation.
    is_begun: bool,
}

impl Stage<'_> {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.receiver.take(chunk).map_err(refused)?;
        if self.receiver.batch_len() >= BATCH_LEN { self.write_batch() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<StateRecord> {
        let state = self.receiver.finish().map_err(refused)?;
        self.write_batch()?;
        Ok(state)
    }

    fn write_batch(&mut self) -> io::Result<()> {
        // Under the machine's lock: nothing is staged for a deleted partition.
        let machine = self.shared.machine.lock();
        let (batch, len) = self.receiver.take_batch();
        self.is_begun = true;
        machine.write_staged(&batch)?;
        drop(machine);
        self.shared.disk.applied(len as u64);
        Ok(())
    }
}

fn refused(error: super::format::Refused) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
