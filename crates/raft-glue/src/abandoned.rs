//! Which uploads are abandoned: before which time, by this node's clock, nothing that
//! was written to one can be recent.
//!
//! An upload carries the time of its last part by the clock of whoever led then, which
//! may be hours from this node's, and this node's clock may be set while it leads. So a
//! leader only judges by what its own clock showed in its own term, and only after it has
//! led for as long as an upload may rest: what it did not see written is that old by then.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use partition_types::PartitionId;
use tokio::time::Instant;

/// An upload that wrote nothing for this long is abandoned.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// What this node's clock showed while it led each partition that has uploads.
#[derive(Default)]
pub(crate) struct Abandoned(HashMap<PartitionId, Led>);

struct Led {
    term: u64,
    /// The first is older than [`IDLE`], if there is one so old.
    seen: VecDeque<(Instant, u64)>,
}

impl Abandoned {
    /// Looks at the clock for a partition that this node leads, in milliseconds since
    /// the epoch; at most `every` since it last did. Uploads whose last part is stamped
    /// before the time that is returned are abandoned; `None`: none is known to be.
    pub(crate) fn look(
        &mut self,
        id: PartitionId,
        term: u64,
        (now, now_ms): (Instant, u64),
        every: Duration,
    ) -> Option<u64> {
        let led = self.0.entry(id).or_insert_with(|| Led { term, seen: VecDeque::new() });
        let rested = led.seen.back().is_some_and(|(at, _)| now.duration_since(*at) > 2 * every);
        if led.term != term || rested {
            // What other leaders wrote meanwhile bears their clocks, and what the own
            // one did meanwhile was not seen.
            *led = Led { term, seen: VecDeque::new() };
        }
        led.seen.push_back((now, now_ms));
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) >= IDLE;
        while led.seen.get(1).is_some_and(is_old) {
            led.seen.pop_front();
        }
        if !led.seen.front().is_some_and(is_old) {
            return None;
        }
        // The least, if the clock was set; and it may have been less between two looks.
        let least_ms = led.seen.iter().map(|(_, at_ms)| *at_ms).min()?;
        least_ms.checked_sub(super::maintain::ms(2 * every))
    }

    /// Forgets a partition that has no uploads or another leader.
    pub(crate) fn forget(&mut self, id: PartitionId) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(60);
    const HOUR_MS: u64 = 3_600_000;
    const START_MS: u64 = 1_700_000_000_000;

    /// Looks once a minute at a clock whose reading is given for each minute, and
    /// checks that nothing of the last fifteen minutes counts as abandoned.
    fn look(
        minutes: u64,
        term: impl Fn(u64) -> u64,
        shows: impl Fn(u64) -> u64,
    ) -> Vec<Option<u64>> {
        let (mut abandoned, began) = (Abandoned::default(), Instant::now());
        let id = PartitionId::new(1).unwrap();
        let one = |minute| {
            let now = began + Duration::from_secs(60 * minute);
            let before_ms = abandoned.look(id, term(minute), (now, shows(minute)), EVERY);
            for recent in minute.saturating_sub(14)..=minute {
                assert!(before_ms.is_none_or(|before| before < shows(recent)), "{minute} {recent}");
            }
            before_ms
        };
        (0..minutes).map(one).collect()
    }

    fn at(minute: u64) -> u64 {
        START_MS + minute * 60_000
    }

    #[test]
    fn what_rests_is_abandoned() {
        let before = look(60, |_| 7, at);
        assert!(before[..15].iter().all(Option::is_none));
        for (since, before) in (0..).zip(&before[15..]) {
            assert_eq!(*before, Some(at(since) - 120_000));
        }
    }

    #[test]
    fn a_clock_that_is_set_abandons_nothing_early() {
        // An hour ahead in the thirtieth minute, back in the fiftieth.
        let set = |minute| at(minute) + if (30..50).contains(&minute) { HOUR_MS } else { 0 };
        let before = look(90, |_| 7, set);
        assert_eq!(before[44], Some(at(29) - 120_000));
        assert_eq!(before[45], Some(at(30) + HOUR_MS - 120_000));
        assert_eq!(before[50], Some(at(50) - 120_000));
        assert_eq!(before[89], Some(at(74) - 120_000));
    }

    #[test]
    fn a_new_term_begins_anew() {
        let before = look(60, |minute| 7 + minute / 20, at);
        for (minute, before) in before.iter().enumerate() {
            assert_eq!(before.is_some(), minute % 20 >= 15, "minute {minute}");
        }
    }

    #[test]
    fn so_does_a_look_after_a_long_pause() {
        let (mut abandoned, began) = (Abandoned::default(), Instant::now());
        let id = PartitionId::new(1).unwrap();
        let mut at = |minute: u64| {
            let now = began + Duration::from_secs(60 * minute);
            abandoned.look(id, 1, (now, START_MS), EVERY)
        };
        assert_eq!(at(0), None);
        assert_eq!(at(20), None);
        for minute in 21..35 {
            assert_eq!(at(minute), None);
        }
        assert_eq!(at(35), Some(START_MS - 120_000));
    }
}
