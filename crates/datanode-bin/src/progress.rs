//! Start-up progress for people: a bar on a terminal, else a line in the log
//! every few seconds.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use partition_types::PartitionId;
use startup_gate::{Handle, Report, Stage};

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
    while starting(gate.stage()) {
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
        if !starting(gate.stage()) {
            return;
        }
        tracing::info!("{}", line(&gate.report()));
    }
}

/// One line: stage, how far, and what is waited for.
pub(crate) fn line(report: &Report) -> String {
    let (done, total) = units(report);
    let waiting = waiting_for(report);
    let sep = if waiting.is_empty() { "" } else { ": " };
    format!("{} {done}/{total} partitions{sep}{waiting}", report.stage)
}

/// Units that passed the stage, or were set aside in it, of all that it is about.
fn units(report: &Report) -> (usize, usize) {
    let stage = report.stages.iter().rev().find(|stage| stage.stage == report.stage);
    stage.map_or((0, 0), |s| (s.units_done + s.units_failed + s.units_waived, s.units_total))
}

fn waiting_for(report: &Report) -> String {
    let Some(first) = report.blocking.first() else { return String::new() };
    let reason = first.reason.as_deref().unwrap_or(first.state);
    format!("partition {} {reason}", first.unit)
}

/// Whether the gate is still on its way up.
pub(crate) fn starting(stage: Stage) -> bool {
    matches!(stage, Stage::Load | Stage::Check | Stage::Elect | Stage::Listen)
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
