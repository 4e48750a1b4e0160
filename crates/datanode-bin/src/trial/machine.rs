//! What the machine does meanwhile, by `/proc`: figures are worth what it was.

use std::fs::read_to_string;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cluster::Cluster;

/// Ticks a second in `/proc/<pid>/stat`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the machine did that is none of the nodes' doing, or little of it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Machine {
    /// The part of the processors' time that others had who share the machine below.
    pub(super) stolen_ratio: Phases<f64>,
    /// The slowest sync of one block in a file of its own, on the disk of the nodes' files.
    pub(super) slowest_sync_ms: Phases<f64>,
    /// The longest time in which that disk had requests, and completed none.
    pub(super) longest_still_ms: Phases<Option<f64>>,
}

/// A figure of the time before the restarts, and of theirs.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Phases<T> {
    pub(super) baseline: T,
    pub(super) restarts: T,
}

/// Resident memory of a process.
pub(super) fn rss_mib(pid: u32) -> f64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// CPU time of each node so far, user and system.
pub(super) fn cpu_seconds(cluster: &Cluster) -> Result<Vec<f64>> {
    let of = |pid: u32| {
        let stat = read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may have spaces; what follows its bracket has none.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).context("a line of stat")?;
        let field = |at: usize| {
            let text = rest.split_whitespace().nth(at).context("a field of stat")?;
            anyhow::Ok(text.parse::<f64>()?)
        };
        // Fields 14 and 15, counted from 1; the third is the first after the name.
        anyhow::Ok((field(11)? + field(12)?) / TICKS_PER_SECOND)
    };
    cluster.nodes().iter().map(|node| of(node.pid().context("the node runs")?)).collect()
}

/// Of the last minute.
pub(super) fn load_average() -> f64 {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// What the processors did since the machine was started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Processors {
    ticks: u64,
    stolen: u64,
}

impl Processors {
    /// Up to now; nothing where the system does not tell.
    pub(super) fn now() -> Self {
        Self::of(&read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The first line is of all of them: user, nice, system, idle, iowait, irq, softirq, steal.
    fn of(stat: &str) -> Self {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
        let ticks = line.unwrap_or_default().split_whitespace().take(8);
        let ticks: Vec<u64> = ticks.map_while(|text| text.parse().ok()).collect();
        Self { ticks: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// The part of their time since `before` that others had who share the machine below.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(super) fn stolen_since(self, before: Self) -> f64 {
        let ticks = self.ticks.saturating_sub(before.ticks);
        let stolen = self.stolen.saturating_sub(before.stolen);
        stolen as f64 / ticks.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_took_is_a_part_of_the_time_in_between() {
        let before = Processors::of("cpu  10 0 10 80 0 0 0 5 3 0\ncpu0 1 1 1 1 1 1 1 1\n");
        let after = Processors::of("cpu  40 0 20 90 0 0 5 20 9 0\n");
        assert!((after.stolen_since(before) - 0.2142).abs() < 0.001);
        assert!(Processors::of("").stolen_since(after).abs() < f64::EPSILON);
    }
}
