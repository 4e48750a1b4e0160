//! Progress for people: a bar on a terminal, and nothing at all elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// How often a bar is drawn, per second.
const HZ: u8 = 10;

/// A bar that counts things.
pub(crate) fn count(what: &'static str, total: u64) -> ProgressBar {
    bar(what, total, "{msg:>12} {bar:32} {human_pos}/{human_len} {elapsed}")
}

/// A bar that counts bytes.
pub(crate) fn bytes(what: &'static str, total: u64) -> ProgressBar {
    bar(
        what,
        total,
        "{msg:>12} {bar:32} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {elapsed}",
    )
}

/// A line that says what goes on.
pub(crate) fn note(what: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(HZ))
        .with_style(style("{spinner} {msg} {elapsed}"))
        .with_finish(ProgressFinish::AndClear)
        .with_message(what.into());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

fn bar(what: &'static str, total: u64, template: &str) -> ProgressBar {
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(HZ))
        .with_style(style(template).progress_chars("█▉▊▋▌▍▎▏ "))
        .with_finish(ProgressFinish::AndClear)
        .with_message(what)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant that a test draws")
}

#[cfg(test)]
mod tests {
    #[test]
    fn templates_are_valid() {
        for bar in [super::count("counting", 3), super::bytes("storing", 9), super::note("…")] {
            bar.inc(1);
            bar.finish();
        }
    }
}
