//! How a source file opens, how long it is, and what it must not leave behind.

use anyhow::{Context, Result};

use crate::cargo;

/// Longer than this is more than one concept.
const LINES_MAX: usize = 500;

/// Split, so that this file does not find itself.
const LEFT_BEHIND: [(&str, &str); 6] = [
    (concat!("todo", "!("), "unfinished"),
    (concat!("unimplemented", "!("), "unfinished"),
    (concat!("dbg", "!("), "left from debugging"),
    (concat!("FIX", "ME"), "unfinished"),
    (concat!("#[igno", "re]"), "an ignored test needs a reason"),
    (concat!("assert!(", "true)"), "a test that cannot fail"),
];

pub(super) fn check(tracked: &[String]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for name in tracked.iter().filter(|name| name.ends_with(".rs")) {
        let text = std::fs::read_to_string(cargo::root().join(name))
            .with_context(|| format!("read {name}"))?;
        // Compile-fail examples are fed to the compiler and to nobody else.
        if !text.starts_with("//!") {
            findings.push(format!("{name}: opens without `//!` (what it is, what it is not)"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
        }
        for (number, line) in text.lines().enumerate() {
            for (word, what) in LEFT_BEHIND {
                if line.contains(word) {
                    findings.push(format!("{name}:{}: {what}: `{word}`", number + 1));
                }
            }
        }
    }
    Ok(findings)
}
