//! The log of a run: every event with its simulated time, and one hash over all
//! of them and over every message. Two runs of a seed must be equal in it.

use std::collections::VecDeque;

/// Lines that a failing run shows.
const TAIL: usize = 400;

/// What happened so far.
#[derive(Debug)]
pub(crate) struct Log {
    hash: u64,
    /// Events and messages that are in the hash.
    count: u64,
    tail: VecDeque<String>,
    /// Shows each line at once.
    loud: bool,
}

impl Log {
    pub(crate) fn new(loud: bool) -> Self {
        // FNV-1a, 64 bits: to compare runs, not to withstand anybody.
        Self { hash: 0xcbf2_9ce4_8422_2325, count: 0, tail: VecDeque::new(), loud }
    }

    /// Adds an event with a line of its own.
    pub(crate) fn event(&mut self, at_ms: u64, what: &str) {
        let line = format!("{at_ms:>6} {what}");
        self.add(line.as_bytes());
        if self.loud {
            eprintln!("{line}");
        }
        self.tail.push_back(line);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }

    /// Adds something of which there is too much to show.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
    }

    /// Over everything so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The last events.
    pub(crate) fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }
}
