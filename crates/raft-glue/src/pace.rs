//! Leaderships move by turns, and no faster than the machine does with ease.
//!
//! A hand-over costs as much as several requests, on every member: votes, an entry, and
//! disks to wait for. As many as can be, one after the other, take what is left of the
//! processors, and then the requests of clients queue behind them. How long a hand-over
//! takes tells that at once: it waits in the same queues.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Longest rest after one hand-over.
const REST_MAX: Duration = Duration::from_millis(200);
/// A hand-over that waited is followed by a rest of so many times that wait.
const REST_FACTOR: u32 = 3;

/// How long hand-overs take where nothing is in their way, as far as is known.
#[derive(Default)]
pub(crate) struct Pace {
    quickest: Mutex<Option<Duration>>,
}

impl Pace {
    /// Rests after a hand-over that took so long.
    pub(crate) async fn rest_after(&self, took: Duration) {
        tokio::time::sleep(self.note(took)).await;
    }

    fn note(&self, took: Duration) -> Duration {
        let mut quickest = self.quickest.lock();
        let best = quickest.map_or(took, |quickest| quickest.min(took));
        *quickest = Some(best);
        rest(took, best)
    }
}

/// Twice the quickest is no wait: that much is chance.
fn rest(took: Duration, quickest: Duration) -> Duration {
    let waited = took.saturating_sub(quickest * 2);
    (waited * REST_FACTOR).min(REST_MAX)
}

/// So many hand-overs at the same time, with rests in between for some time.
pub(crate) struct Turns {
    free: Semaphore,
    pace: Pace,
    rests_until: Instant,
}

/// One of the [`Turns`].
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    began: Instant,
    _permit: SemaphorePermit<'a>,
}

impl Turns {
    /// From `rests_until` on they go as fast as they can.
    pub(crate) fn new(count: usize, rests_until: Instant) -> Self {
        Self { free: Semaphore::new(count), pace: Pace::default(), rests_until }
    }

    /// Waits for a turn.
    pub(crate) async fn next(&self) -> Turn<'_> {
        let permit = self.free.acquire().await.expect("it is never closed");
        Turn { turns: self, began: Instant::now(), _permit: permit }
    }
}

impl Turn<'_> {
    /// The hand-over is done: the turn is the next one's after a rest.
    pub(crate) async fn done(self) {
        let rests_until = self.turns.rests_until;
        let rest = self.turns.pace.rest_after(self.began.elapsed());
        let _ = tokio::time::timeout_at(rests_until, rest).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_waits_rests_and_what_does_not_goes_on() {
        let pace = Pace::default();
        assert_eq!(pace.note(20 * MS), Duration::ZERO, "nothing is known");
        assert_eq!(pace.note(10 * MS), Duration::ZERO, "quicker than any");
        assert_eq!(pace.note(20 * MS), Duration::ZERO, "chance");
        assert_eq!(pace.note(30 * MS), 30 * MS, "it waited for 10 ms");
        assert_eq!(pace.note(4000 * MS), REST_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_rests_for_a_bounded_time() {
        let turns = Turns::new(2, Instant::now() + Duration::from_secs(1));
        turns.pace.note(MS);
        let began = Instant::now();
        let hand_over = async || {
            let turn = turns.next().await;
            tokio::time::sleep(100 * MS).await;
            turn.done().await;
        };
        // With a rest of 200 ms each; the fourth pair rests to the end only.
        for ms in [300, 600, 900, 1000, 1100, 1200] {
            tokio::join!(hand_over(), hand_over());
            assert_eq!(began.elapsed(), ms * MS);
        }
    }
}
