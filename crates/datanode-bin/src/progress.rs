//! Start-up progress for people: a bar on a terminal, else a line in the log
//! every few seconds; and such lines for a long way down.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use partition_types::PartitionId;
use raft_glue::PartitionHost;
use startup_gate::{Counts, Handle, Report, UnitReport};

/// A log line so often, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The bar moves so often.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// The terminal that bars and log lines share.
pub(crate) fn screen() -> &'static MultiProgress {
    static SCREEN: OnceLock<MultiProgress> = OnceLock::new();
    SCREEN.get_or_init(MultiProgress::new)
}

/// Shows a start until it is over, then leaves nothing behind.
///
/// # Cancel safety
/// Dropped at any time it takes its bar with it.
pub(crate) async fn show(gate: Handle<PartitionId>) {
    if !std::io::stderr().is_terminal() {
        return log_lines(&gate).await;
    }
    let style = ProgressStyle::with_template("{prefix:>7} [{bar:30}] {pos}/{len} {wide_msg}")
        .expect("the template is well-formed");
    let bar = screen().add(ProgressBar::new(0).with_style(style.progress_chars("=> ")));
    let _gone_at_the_end = ClearOnDrop(bar.clone());
    while gate.stage().is_starting() {
        let report = gate.report();
        let (done, total) = units(&report);
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_prefix(report.stage.to_string());
        bar.set_message(waiting_for(&report));
        tokio::time::sleep(BAR_EVERY).await;
    }
}

async fn log_lines(gate: &Handle<PartitionId>) {
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        if !gate.stage().is_starting() {
            return;
        }
        tracing::info!("{}", line(&gate.report()));
    }
}

/// Tells every few seconds where a way down stands. Never ends.
///
/// # Cancel safety
/// Safe to drop at any time.
pub(crate) async fn show_down(gate: Handle<PartitionId>, host: PartitionHost) -> Infallible {
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        let led = host.list().iter().filter(|group| group.is_leader()).count();
        if let Some(line) = down_line(&gate.report(), led) {
            tracing::info!("{line}");
        }
    }
}

/// The step that runs, and what it has still to do.
fn down_line(report: &Report, led: usize) -> Option<String> {
    let step = report.steps.iter().rev().find(|step| step.end_ms.is_none())?;
    let led = if led == 0 { String::new() } else { format!(", {led} partitions still led here") };
    Some(format!("going down: {}{led}", step.step))
}

/// One line: stage, how far, and what is waited for.
pub(crate) fn line(report: &Report) -> String {
    let (done, total) = units(report);
    let waiting = waiting_for(report);
    let sep = if waiting.is_empty() { "" } else { ": " };
    format!("{} {done}/{total} partitions{sep}{waiting}", report.stage)
}

/// Likewise for a node that serves.
pub(crate) fn serving(counts: Counts) -> String {
    let able = counts.ready + counts.deferred;
    let mut line = format!("serving {able}/{} partitions", counts.total());
    for (units, word) in [
        (counts.quarantined, "quarantined"),
        (counts.waived, "waived"),
        (counts.deferred, "idle since the start"),
    ] {
        if units > 0 {
            line += &format!(", {units} {word}");
        }
    }
    line
}

/// Units that passed the stage, or were set aside in it, of all that it is about.
fn units(report: &Report) -> (usize, usize) {
    let stage = report.stages.iter().rev().find(|stage| stage.stage == report.stage);
    stage.map_or((0, 0), |s| {
        let aside = s.units_failed + s.units_waived + s.units_deferred;
        (s.units_done + aside, s.units_total)
    })
}

/// The first partition that blocks, rather one that is being worked on than one
/// that is in a queue; before there is any, what is done instead.
fn waiting_for(report: &Report) -> String {
    let is_queued = |unit: &&UnitReport| matches!(unit.state, "waiting" | "joined" | "loaded");
    let at_work = report.blocking.iter().find(|unit| !is_queued(unit));
    let Some(first) = at_work.or_else(|| report.blocking.first()) else {
        let running = report.spans.iter().find(|span| span.end_ms.is_none());
        return running.map_or_else(String::new, |span| span.name.clone());
    };
    let reason = first.reason.as_deref().unwrap_or(first.state);
    format!("partition {} {reason}", first.unit)
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serving_node_names_only_what_is_not_as_it_should_be() {
        let counts = Counts { ready: 7, ..Counts::default() };
        assert_eq!(serving(counts), "serving 7/7 partitions");
        let counts = Counts { ready: 3, deferred: 4, ..Counts::default() };
        assert_eq!(serving(counts), "serving 7/7 partitions, 4 idle since the start");
        let counts = Counts { ready: 7, quarantined: 2, waived: 1, ..Counts::default() };
        assert_eq!(serving(counts), "serving 7/10 partitions, 2 quarantined, 1 waived");
    }

    #[tokio::test]
    async fn an_opening_of_disks_is_told_and_so_is_a_way_down() {
        let startup =
            startup_gate::Startup::<PartitionId, _>::new(startup_gate::Config::default(), vec![])
                .unwrap();
        let gate = startup.handle();
        let opening = gate.span("open disks");
        assert_eq!(line(&gate.report()), "load 0/0 partitions: open disks");
        drop(opening);
        assert_eq!(line(&gate.report()), "load 0/0 partitions");
        assert_eq!(down_line(&gate.report(), 3), None);
        gate.cancel();
        drop(startup);
        let down = gate.unwind().unwrap();
        down.flush(async {
            let told = down_line(&gate.report(), 3);
            assert_eq!(told.as_deref(), Some("going down: flush, 3 partitions still led here"));
            assert_eq!(down_line(&gate.report(), 0).as_deref(), Some("going down: flush"));
        })
        .await
        .unload(async {})
        .await;
    }
}
