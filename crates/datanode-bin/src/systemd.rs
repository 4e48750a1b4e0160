//! What systemd is told (`sd_notify`): READY only after the client port
//! listens, more time only while the start really moves, STOPPING on the way
//! down, and WATCHDOG as long as the process turns. Without `NOTIFY_SOCKET`
//! all of it does nothing. A node that an operator drains is not stopping, and is
//! not to be ended after a time.
//!
//! It is not how the node's health is decided: systemd ends a start that
//! hangs, and a process that does not turn, and nothing else.

use std::future::pending;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use partition_types::PartitionId;
use sd_notify::NotifyState;
use startup_gate::{Handle, Stage};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::progress;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What an extension lasts longer than what it waits for, so that the gate's
/// own verdict comes first.
const GRACE: Duration = Duration::from_secs(30);
/// Asked for once at the very start: opening RocksDB replays a bounded log
/// and ticks no progress meanwhile.
const EXTEND_FIRST_BY: Duration = Duration::from_secs(60);

/// How long the node's own deadlines are: systemd must not be faster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// `startup.stall_timeout`: a load may stand still for so long.
    pub(crate) stall: Duration,
    /// `startup.elect_timeout`.
    pub(crate) elect: Duration,
    /// The whole way down.
    pub(crate) down: Duration,
}

/// Follows the gate up and down, until it is dropped at the end of the process.
/// `stop` is the signal to go down.
///
/// # Cancel safety
/// Safe to drop at any time.
pub(crate) async fn follow(gate: Handle<PartitionId>, stop: CancellationToken, patience: Patience) {
    let Some(mouth) = Mouth::open() else { return };
    let mut changes = gate.subscribe();
    let mut teller = Teller::new(gate, patience, mouth);
    let mut looks = ticks(LOOK_EVERY);
    let mut feeds = sd_notify::watchdog_enabled().map(|limit| ticks(limit / 2));
    teller.begin();
    loop {
        tokio::select! {
            // The handle that `teller` holds keeps the sender alive.
            _ = changes.changed() => teller.follow_stage(),
            _ = looks.tick() => teller.look(),
            () = next(&mut feeds) => teller.feed(),
            () = stop.cancelled(), if !teller.stopping => teller.stops(),
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The next tick; never without a watchdog.
async fn next(feeds: &mut Option<Interval>) {
    match feeds {
        Some(feeds) => drop(feeds.tick().await),
        None => pending().await,
    }
}

struct Teller {
    gate: Handle<PartitionId>,
    patience: Patience,
    mouth: Mouth,
    stage: Stage,
    status: String,
    stopping: bool,
    progress_seen: u64,
    progress_at: Instant,
}

impl Teller {
    fn new(gate: Handle<PartitionId>, patience: Patience, mouth: Mouth) -> Self {
        let (stage, progress_seen) = (Stage::Load, gate.progress_count());
        let (status, progress_at) = (String::new(), Instant::now());
        Self { gate, patience, mouth, stage, status, stopping: false, progress_seen, progress_at }
    }

    fn begin(&mut self) {
        let status = self.status();
        self.mouth.say(format!("{status}\n{}", extend(EXTEND_FIRST_BY)));
        self.follow_stage();
    }

    /// Says at once what is another stage; everything else waits for a look.
    fn follow_stage(&mut self) {
        let stage = self.gate.stage();
        if stage == self.stage {
            return;
        }
        self.stage = stage;
        let mut message = self.status();
        match stage {
            Stage::Serving => message += &format!("\n{}", NotifyState::Ready),
            // Nothing moves while a quorum is waited for, and that is fine
            // for as long as it was told to wait.
            Stage::Elect => message += &format!("\n{}", extend(self.patience.elect + GRACE)),
            // A failed start has no stage in between.
            Stage::Stopped if !self.stopping => message += &self.stopping(),
            _ => {}
        }
        self.mouth.say(message);
    }

    /// The signal to go down came.
    fn stops(&mut self) {
        let message = self.status() + &self.stopping();
        self.mouth.say(message);
    }

    fn stopping(&mut self) -> String {
        self.stopping = true;
        format!("\n{}\n{}", NotifyState::Stopping, extend(self.patience.down + GRACE))
    }

    /// A start that hangs gets no more time: systemd then ends it, as it should.
    fn look(&mut self) {
        let progress = self.gate.progress_count();
        let moved = progress != self.progress_seen;
        if moved {
            self.progress_seen = progress;
            self.progress_at = Instant::now();
        }
        let before = std::mem::take(&mut self.status);
        let mut message = self.status();
        if moved && self.stage.is_starting() {
            message += &format!("\n{}", extend(self.patience.stall + GRACE));
        } else if self.status == before {
            return;
        }
        self.mouth.say(message);
    }

    /// That this runs at all shows that the runtime turns.
    fn feed(&self) {
        if turns(self.stage, self.progress_at.elapsed(), self.patience) {
            self.mouth.say(NotifyState::Watchdog.to_string());
        }
    }

    fn status(&mut self) -> String {
        self.status = match self.gate.stage() {
            // Cheap: a node serves for months.
            Stage::Serving => progress::serving(self.gate.counts()),
            stage if stage.is_starting() => progress::line(&self.gate.report()),
            stage => stage.to_string(),
        };
        NotifyState::Status(&self.status).to_string()
    }
}

/// Whether the process does what it should. While it loads and checks, the gate
/// gives up on what stands still, and that is progress: if not even that
/// happens, the gate hangs. A wait for leaders never counts against a node.
fn turns(stage: Stage, still_for: Duration, patience: Patience) -> bool {
    !matches!(stage, Stage::Load | Stage::Check) || still_for <= patience.stall + GRACE
}

fn extend(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

/// Says things in order on a thread of its own: a service manager that does not
/// read must not hold up the runtime.
struct Mouth(Sender<String>);

impl Mouth {
    /// `None` when nobody listens.
    fn open() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let (sender, messages) = channel();
        let spoken = std::thread::Builder::new().name("sd-notify".to_owned());
        match spoken.spawn(move || speak(&messages)) {
            Ok(_) => Some(Self(sender)),
            Err(error) => {
                tracing::warn!(%error, "systemd is not told anything: no thread for it");
                None
            }
        }
    }

    fn say(&self, message: String) {
        // It ends with this, not before.
        let _ = self.0.send(message);
    }
}

fn speak(messages: &Receiver<String>) {
    for message in messages {
        if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&message)]) {
            tracing::debug!(%error, "systemd was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gate_that_hangs_does_not_turn() {
        let second = Duration::from_secs(1);
        let patience = Patience { stall: 60 * second, elect: 30 * second, down: 30 * second };
        let check = |stage, still_for: u32, expected| {
            assert_eq!(turns(stage, second * still_for, patience), expected, "{stage} {still_for}");
        };
        check(Stage::Load, 0, true);
        check(Stage::Load, 90, true);
        check(Stage::Load, 91, false);
        check(Stage::Check, 91, false);
        for stage in [Stage::Elect, Stage::Listen, Stage::Serving, Stage::Draining, Stage::Stopped]
        {
            check(stage, 1_000_000, true);
        }
    }

    #[test]
    fn an_extension_is_in_microseconds_and_never_overflows() {
        assert_eq!(extend(Duration::from_secs(90)).to_string(), "EXTEND_TIMEOUT_USEC=90000000");
        let longest = extend(Duration::from_secs(1_000_000)).to_string();
        assert_eq!(longest, format!("EXTEND_TIMEOUT_USEC={}", u32::MAX));
    }
}
