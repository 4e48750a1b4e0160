//! The switch from the current state to a staged snapshot.
//!
//! ```text
//! staged ──pointer and state record, one batch──▶ current ──flush──▶ durable ──▶ old one deleted
//! ```
//!
//! A crash before the flush leaves the old state, one after it the new state;
//! the other generation is discarded when the partition is opened.

use std::io;

use partition_types::{LogId, Membership};

use super::sink::StagedSnapshot;
use crate::state::{PartitionState, Shared, generation};

impl PartitionState {
    /// Makes a staged snapshot the state: at once, and durable on return.
    ///
    /// `last`, `membership_log_id` and `membership` are what its sender
    /// announced; they must be what the stream says.
    ///
    /// # Errors
    /// `InvalidInput` when they are not, when the snapshot was staged for
    /// another partition, or when it is older than the state: the state is
    /// as before then. Else when the disk fails: the replica must stop.
    ///
    /// # Cancel safety
    /// A call that was dropped still installs.
    pub async fn install(
        &self,
        staged: StagedSnapshot,
        last: LogId,
        membership_log_id: Option<LogId>,
        membership: Membership,
    ) -> io::Result<()> {
        self.long(move |shared| {
            let state = &staged.state;
            let announced = (Some(last), membership_log_id, &membership);
            if announced != (state.applied, state.membership_log_id, &*state.membership) {
                return Err(invalid("the snapshot is not the one that was announced"));
            }
            install(shared, staged)
        })
        .await?
    }
}

fn install(shared: &Shared, staged: StagedSnapshot) -> io::Result<()> {
    if !std::ptr::eq(staged.beside.as_ptr(), shared) {
        return Err(invalid("the snapshot is staged beside another state"));
    }
    let (old, old_bytes) = {
        let mut machine = shared.machine.lock();
        // Going back would take back outcomes that clients were told.
        if staged.state.applied < machine.state().applied {
            return Err(invalid("the snapshot is older than the state"));
        }
        let old_bytes = machine.state().size_bytes;
        let old = machine.switch_to(staged.space, staged.state);
        // After an error too: whether the switch was written is not known then,
        // and opening the partition finds out. The thread that is told is gone
        // only if it panicked.
        let _ = staged.installed.send(());
        let old = old?;
        shared.publish(&machine);
        (old, old_bytes)
    };
    shared.disk.flush()?;
    generation::discard(shared.engine.as_ref(), old)?;
    shared.disk.freed(old_bytes);
    Ok(())
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}
