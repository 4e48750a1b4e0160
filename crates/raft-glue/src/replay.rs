//! A state that is still behind its log.
//!
//! A replica takes part in its group as soon as its vote and log are readable.
//! openraft, which wants to know at once what is applied, is told what will be
//! when the log is replayed; until that is so, what it gives to apply is only
//! noted, and the replay goes that much further. A fenced replica answers no
//! client and leads nobody, so nothing depends on when it is really applied.
//!
//! ```text
//!   Behind(upto) ── the replay reached upto ──▶ Level: apply applies
//!      └─ apply moves upto on
//! ```

use std::io;

use parking_lot::Mutex;
use partition_store::{PartitionStore, Recovered};
use partition_types::LogId;
use tokio::sync::watch;

/// How far one partition's state is from its log.
pub(crate) struct Replay {
    store: PartitionStore,
    phase: Mutex<Phase>,
    /// Held by who changes the state: the replay, or a snapshot that replaces it.
    turn: tokio::sync::Mutex<()>,
    /// One past the last applied index.
    applied_next: watch::Sender<u64>,
}

enum Phase {
    /// The state is to have the entries up to here; `None`: it lacks nothing.
    Behind(Option<LogId>),
    /// The state has all that openraft believes applied.
    Level,
}

impl Replay {
    /// A state that lacks what `recovered` has. Also returns where one past the
    /// last applied index can be watched.
    pub(crate) fn new(
        store: PartitionStore,
        recovered: &Recovered,
    ) -> (Self, watch::Receiver<u64>) {
        let next = store.state().applied().map_or(0, |id| id.index + 1);
        let (applied_next, watch) = watch::channel(next);
        let phase = Mutex::new(Phase::Behind(recovered.applied));
        (Self { store, phase, turn: tokio::sync::Mutex::default(), applied_next }, watch)
    }

    pub(crate) fn store(&self) -> &PartitionStore {
        &self.store
    }

    /// Whether [`Replay::run`] has not come to its end.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Behind(_))
    }

    /// Whether nothing is left to replay; nothing is waited for.
    pub(crate) fn is_level(&self) -> bool {
        self.finish_if_level()
    }

    /// Leaves the entries up to `last` to the replay. False when that is over:
    /// they are to be applied.
    pub(crate) fn defer(&self, last: LogId) -> bool {
        match &mut *self.phase.lock() {
            Phase::Behind(upto) => {
                *upto = (*upto).max(Some(last));
                true
            }
            Phase::Level => false,
        }
    }

    /// Says that entries before `next` are applied.
    pub(crate) fn applied(&self, next: u64) {
        self.applied_next.send_replace(next);
    }

    /// Replays until the state is level; `moved` is called after each piece.
    ///
    /// # Errors
    /// When the disk fails or something that it needs is damaged. The state
    /// stays behind then; running it again goes on where it stopped.
    ///
    /// # Cancel safety
    /// Running it again goes on where it stopped.
    pub(crate) async fn run(&self, moved: impl Fn()) -> io::Result<()> {
        if !self.is_behind() {
            return Ok(());
        }
        self.store.delay_replay().await;
        while !self.finish_if_level() {
            let _turn = self.turn.lock().await;
            let upto = match *self.phase.lock() {
                Phase::Behind(upto) => upto,
                Phase::Level => None,
            };
            let Some(upto) = upto else { continue };
            if let Some(last) = self.store.replay_piece(upto).await? {
                self.applied(last.index + 1);
                moved();
            }
        }
        Ok(())
    }

    /// Applies entries that were deferred a moment too late.
    pub(crate) async fn apply_from_log(&self, upto: LogId) -> io::Result<()> {
        while let Some(last) = self.store.replay_piece(upto).await? {
            self.applied(last.index + 1);
        }
        Ok(())
    }

    /// Runs `install`, which replaces the state by one that covers `last`, while
    /// nothing is replayed.
    pub(crate) async fn replaced(
        &self,
        last: LogId,
        install: impl Future<Output = io::Result<()>>,
    ) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        install.await?;
        self.applied(last.index + 1);
        Ok(())
    }

    fn finish_if_level(&self) -> bool {
        let mut phase = self.phase.lock();
        if let Phase::Behind(upto) = *phase
            && self.store.state().applied() >= upto
        {
            *phase = Phase::Level;
        }
        matches!(*phase, Phase::Level)
    }
}
