//! How a roll is followed: a table on a terminal, a line a step elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Row;
use super::turn::Step;
use crate::output::millis;

/// Shows the rows as they change.
pub(super) enum Show {
    Table { _screen: MultiProgress, rows: Vec<ProgressBar> },
    Lines,
}

impl Show {
    pub(super) fn new(rows: &[Row]) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let screen = MultiProgress::new();
        let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}");
        let style = style.expect("a constant that a test draws");
        let bars = rows.iter().map(|row| {
            let bar = screen.add(ProgressBar::new_spinner()).with_style(style.clone());
            bar.set_prefix(format!("node {:<4} {:<21}", row.node_id, row.endpoint));
            bar.set_message(row.state);
            bar
        });
        Self::Table { rows: bars.collect(), _screen: screen }
    }

    /// A row came to another step.
    pub(super) fn step(&self, at: usize, row: &Row) {
        match self {
            Self::Lines => eprintln!("node {}: {}", row.node_id, line(row)),
            Self::Table { rows, .. } => {
                rows[at].set_message(line(row));
                match row.state == Step::Done.name() {
                    true => rows[at].abandon(),
                    false => rows[at].enable_steady_tick(Duration::from_millis(100)),
                }
            }
        }
    }

    /// What a row waits for, where that can be overwritten.
    pub(super) fn note(&self, at: usize, what: &str) {
        if let Self::Table { rows, .. } = self {
            let step = rows[at].message();
            let step = step.split_once(" · ").map_or(step.as_str(), |(step, _)| step);
            rows[at].set_message(format!("{step} · {what}"));
        }
    }

    /// Leaves the screen to the result.
    pub(super) fn finish(&self) {
        if let Self::Table { rows, .. } = self {
            rows.iter().for_each(ProgressBar::finish_and_clear);
        }
    }
}

/// A step, and what those before it took.
fn line(row: &Row) -> String {
    let took = [
        ("waited", row.wait_ms),
        ("drained", row.drain_ms),
        ("restarted", row.restart_ms),
        ("handed back", row.hand_back_ms),
    ];
    let took = took.into_iter().filter_map(|(what, ms)| Some(format!("{what} {}", millis(ms?))));
    let took = took.collect::<Vec<_>>().join(", ");
    match took.is_empty() {
        true => row.state.to_owned(),
        false => format!("{} ({took})", row.state),
    }
}

#[cfg(test)]
mod tests {
    use datanode_client::proto::Node;

    use super::*;

    #[test]
    fn a_line_says_what_was_and_what_is() {
        let mut row = Row::of(&Node { node_id: 1, ..Node::default() });
        assert_eq!(line(&row), "pending");
        row.state = Step::Restart.name();
        (row.wait_ms, row.drain_ms) = (Some(12.0), Some(1840.0));
        assert_eq!(line(&row), "restart (waited 12 ms, drained 1.84 s)");
    }
}
