//! SIGTERM and SIGINT: the first asks, the second insists.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the signals so far ask for.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    /// Go down in order.
    pub(super) stop: CancellationToken,
    /// Stop at once.
    pub(super) stop_now: CancellationToken,
}

impl Signals {
    /// Begins to listen to both signals. SIGHUP is ignored: a node outlives
    /// the terminal that it was started from.
    ///
    /// # Errors
    /// The operating system refuses a handler.
    pub(super) fn install() -> io::Result<Self> {
        let signals = Self { stop: CancellationToken::new(), stop_now: CancellationToken::new() };
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::spawn(async move { while hang_up.recv().await.is_some() {} });
        tokio::spawn(signals.clone().listen(terminate, interrupt));
        Ok(signals)
    }

    async fn listen(self, mut terminate: Signal, mut interrupt: Signal) {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if self.stop.is_cancelled() {
                tracing::warn!("{name} again: stopping at once");
                self.stop_now.cancel();
                return;
            }
            tracing::info!("{name}: going down; once more stops at once");
            self.stop.cancel();
        }
    }
}
