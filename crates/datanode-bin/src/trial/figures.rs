//! From requests to figures: latencies, throughput and loss, by spans of time.

use std::time::Duration;

use serde::Serialize;

use super::record::{Kind, Op, Who, micros};

/// Throughput is counted in windows of this length, so that a baseline and
/// restarts of any length compare.
const WINDOW: Duration = Duration::from_secs(1);

/// From one time of the trial to another, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start_us: u64,
    pub(super) end_us: u64,
}

impl Span {
    /// When a request was on its way.
    pub(super) const fn of(op: &Op) -> Self {
        Self { start_us: op.began_us, end_us: op.ended_us() }
    }

    pub(super) const fn len_us(self) -> u64 {
        self.end_us - self.start_us
    }

    /// Whether a request was on its way in it.
    pub(super) const fn touches(&self, op: &Op) -> bool {
        self.has_part_of(Self::of(op))
    }

    /// Whether something that took that time was under way in it.
    pub(super) const fn has_part_of(self, other: Self) -> bool {
        other.start_us < self.end_us && other.end_us >= self.start_us
    }

    /// How much of another one it has, in microseconds.
    pub(super) fn overlap_us(self, other: Self) -> u64 {
        let end_us = self.end_us.min(other.end_us);
        end_us.saturating_sub(self.start_us.max(other.start_us))
    }

    /// Its windows; a rest that is shorter is no window.
    fn windows(self) -> impl Iterator<Item = Self> {
        let len_us = micros(WINDOW);
        let starts = (self.start_us..).step_by(usize::try_from(len_us).expect("a second"));
        starts
            .map(move |start_us| Self { start_us, end_us: start_us + len_us })
            .take_while(move |window| window.end_us <= self.end_us)
    }
}

/// How long requests took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) ops: u64,
    pub(super) errors: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

impl Latency {
    pub(super) fn of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Self {
        let (mut errors, mut took_us) = (0, Vec::new());
        for op in ops {
            errors += u64::from(!op.ok);
            took_us.push(op.took_us);
        }
        took_us.sort_unstable();
        let ms = |per_mille| ms(quantile(&took_us, per_mille));
        Self {
            ops: took_us.len() as u64,
            errors,
            p50_ms: ms(500),
            p99_ms: ms(990),
            p999_ms: ms(999),
            max_ms: ms(1000),
        }
    }
}

/// The smallest value that so many of 1,000 do not exceed; 0 of nothing.
pub(super) fn quantile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

pub(super) fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

/// A request that took long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Slow {
    /// When it began, in seconds since the plot's beginning.
    pub(super) at_s: f64,
    pub(super) took_ms: f64,
    pub(super) kind: Kind,
    pub(super) who: Who,
    pub(super) partition: u64,
}

/// The slowest requests, the slowest one first; not more than `count`.
pub(super) fn slowest<'a>(
    ops: impl IntoIterator<Item = &'a Op>,
    epoch_us: u64,
    count: usize,
) -> Vec<Slow> {
    let mut ops: Vec<&Op> = ops.into_iter().collect();
    ops.sort_by_key(|op| std::cmp::Reverse(op.took_us));
    let slow = |op: &&Op| Slow {
        at_s: ms(op.began_us.saturating_sub(epoch_us)) / 1e3,
        took_ms: ms(op.took_us),
        kind: op.kind,
        who: op.who,
        partition: op.partition_id.get(),
    };
    ops.iter().take(count).map(slow).collect()
}

/// Requests that ended well, in windows of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Throughput {
    pub(super) windows: usize,
    pub(super) mean: f64,
    pub(super) min: u64,
    pub(super) median: u64,
    pub(super) max: u64,
}

impl Throughput {
    /// `ops` in the order of their ends.
    pub(super) fn of(ops: &[Op], spans: impl IntoIterator<Item = Span>) -> Self {
        let windows = spans.into_iter().flat_map(Span::windows);
        let mut counts: Vec<u64> = windows
            .map(|Span { start_us, end_us }| {
                let at = |us| ops.partition_point(|op| op.ended_us() < us);
                ops[at(start_us)..at(end_us)].iter().filter(|op| op.ok).count() as u64
            })
            .collect();
        counts.sort_unstable();
        let sum: u64 = counts.iter().sum();
        Self {
            windows: counts.len(),
            mean: sum as f64 / counts.len().max(1) as f64,
            min: counts.first().copied().unwrap_or_default(),
            median: quantile(&counts, 500),
            max: counts.last().copied().unwrap_or_default(),
        }
    }

    /// Which part of `self` is missing in `other`: below 0 when it has more.
    pub(super) fn loss_ratio(&self, other: &Self) -> f64 {
        if self.mean > 0.0 { 1.0 - other.mean / self.mean } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::op;
    use super::*;

    fn span(start_ms: u64, end_ms: u64) -> Span {
        Span { start_us: start_ms * 1000, end_us: end_ms * 1000 }
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let thousand: Vec<_> = (1..=1000).collect();
        for (per_mille, expected) in [(0, 1), (500, 500), (990, 990), (999, 999), (1000, 1000)] {
            assert_eq!(quantile(&thousand, per_mille), expected, "{per_mille}");
        }
        assert_eq!((quantile(&[7], 999), quantile(&[], 500)), (7, 0));
        let ops: Vec<_> = (1..=10).map(|took| op(0, took)).collect();
        let latency = Latency::of(&ops);
        assert_eq!((latency.ops, latency.p50_ms, latency.max_ms), (10, 5.0, 10.0));
        let slowest: Vec<_> = slowest(&ops, 0, 2).iter().map(|slow| slow.took_ms).collect();
        assert_eq!(slowest, [10.0, 9.0]);
    }

    #[test]
    fn a_slow_request_belongs_to_every_span_it_was_on_its_way_in() {
        let slow = op(900, 3000);
        for (start, end, expected) in [(0, 900, false), (0, 901, true), (1000, 2000, true)] {
            assert_eq!(span(start, end).touches(&slow), expected, "{start} {end}");
        }
        assert!(span(3900, 5000).touches(&slow));
        assert!(!span(3901, 5000).touches(&slow));
    }

    #[test]
    fn loss_compares_windows_of_one_second() {
        // Ten a second for ten seconds, then five a second for five.
        let mut ops: Vec<_> = (0..100).map(|n| op(n * 100, 1)).collect();
        ops.extend((0..25).map(|n| op(10_000 + n * 200, 1)));
        ops.push(Op { ok: false, ..op(14_999, 0) });
        let baseline = Throughput::of(&ops, [span(0, 10_000)]);
        let restarts = Throughput::of(&ops, [span(10_000, 12_000), span(12_000, 15_000)]);
        assert_eq!(
            (baseline.windows, baseline.mean, baseline.min, baseline.max),
            (10, 10.0, 10, 10)
        );
        assert_eq!((restarts.windows, restarts.mean, restarts.median), (5, 5.0, 5));
        assert!((baseline.loss_ratio(&restarts) - 0.5).abs() < 1e-9);
        assert!((restarts.loss_ratio(&baseline) + 1.0).abs() < 1e-9);
        assert_eq!(Throughput::default().loss_ratio(&baseline), 1.0);
    }
}
