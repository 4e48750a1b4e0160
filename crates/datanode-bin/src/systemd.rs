//! What systemd is told (`sd_notify`): READY only after the client port
//! listens, more time only while the start really moves, STOPPING on the way
//! down after a signal: a node that an operator drains is not stopping, and would
//! be ended after its time. Without `NOTIFY_SOCKET` all of it does nothing.

use std::time::Duration;

use partition_types::PartitionId;
use sd_notify::NotifyState;
use startup_gate::{Handle, Stage};
use tokio_util::sync::CancellationToken;

use crate::progress;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How much time one look asks for: it must outlast the next look.
const EXTEND_BY: Duration = Duration::from_secs(30);
/// Asked for once at the very start: opening RocksDB replays a bounded log
/// and ticks no progress meanwhile.
const EXTEND_FIRST_BY: Duration = Duration::from_secs(60);

/// Follows the gate up and down until it has stopped. `stop` is the signal to.
///
/// # Cancel safety
/// Safe to drop at any time.
pub(crate) async fn follow(gate: Handle<PartitionId>, stop: CancellationToken) {
    let mut ticks = gate.subscribe();
    let mut told = Stage::Load;
    let mut progress_seen = gate.progress_count();
    let mut stopping = false;
    notify(&[NotifyState::Status("load"), extend(EXTEND_FIRST_BY)]);
    loop {
        let changed = tokio::select! {
            changed = tokio::time::timeout(LOOK_EVERY, ticks.changed()) => changed,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                notify(&[NotifyState::Stopping, extend(EXTEND_BY)]);
                continue;
            }
        };
        if matches!(changed, Ok(Err(_))) {
            return;
        }
        let stage = gate.stage();
        if stage != told {
            told = stage;
            announce(stage);
            if stage == Stage::Stopped {
                return;
            }
        }
        if changed.is_err() {
            look(&gate, &mut progress_seen);
        }
    }
}

fn announce(stage: Stage) {
    let status = NotifyState::Status(stage.as_str());
    match stage {
        Stage::Serving => notify(&[NotifyState::Ready, status]),
        _ => notify(&[status]),
    }
}

/// A start that hangs gets no more time: systemd then kills it, as it should.
fn look(gate: &Handle<PartitionId>, progress_seen: &mut u64) {
    let progress = gate.progress_count();
    if progress == *progress_seen || gate.stage() == Stage::Serving {
        return;
    }
    *progress_seen = progress;
    let line = progress::line(&gate.report());
    notify(&[NotifyState::Status(&line), extend(EXTEND_BY)]);
}

fn extend(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
