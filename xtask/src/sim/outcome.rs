//! What seeds came to, one and all.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// A run of this many seeds must have met every kind of fault, and sleep.
const SEEDS_FOR_MINIMA: usize = 20;
/// The kinds, as the program counts them.
const FAULTS: [&str; 9] = [
    "crashes",
    "crashes_in_start",
    "partitions",
    "pauses",
    "restarts",
    "snapshots",
    "sleeps",
    "wakes",
    "crashes_asleep",
];
/// Of each seed.
const CRASHES_MIN: u64 = 5;

/// What one seed came to.
pub(super) struct Outcome {
    pub(super) seed: u64,
    /// `None`: everything held.
    pub(super) failure: Option<String>,
    /// It came to its end, and said itself what it found.
    pub(super) reported: bool,
    violations: usize,
    log_hash: String,
    simulated_ms: u64,
    counts: BTreeMap<String, u64>,
}

impl Outcome {
    pub(super) fn failed(seed: u64, why: String) -> Self {
        Self {
            seed,
            failure: Some(why),
            reported: false,
            violations: 1,
            log_hash: String::new(),
            simulated_ms: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Reads what the program printed last; `said` is where the rest went.
    pub(super) fn read(seed: u64, output: &str, said: &Path) -> Self {
        let last = output.lines().last().unwrap_or_default();
        let Ok(report) = serde_json::from_str::<Value>(last) else {
            let said = said.display();
            return Self::failed(seed, format!("it ended without a report; see {said}"));
        };
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let violations = report["violations"].as_array().cloned().unwrap_or_default();
        let counts: BTreeMap<String, u64> = report["counts"]
            .as_object()
            .map(|counts| counts.iter().map(|(key, value)| (key.clone(), number(value))).collect())
            .unwrap_or_default();
        let failure = violations.first().map(|first| {
            let text = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
            let (invariant, what) = (text("invariant"), text("what"));
            format!("{invariant} at {} ms: {what}", number(&first["at_ms"]))
        });
        Self {
            seed,
            failure,
            reported: true,
            violations: violations.len(),
            log_hash: report["log_hash"].as_str().unwrap_or_default().to_owned(),
            simulated_ms: number(&report["simulated_ms"]),
            counts,
        }
    }
}

/// What became of a planted bug.
pub(super) struct Caught {
    pub(super) bug: &'static str,
    pub(super) at_seed: Option<u64>,
    pub(super) by: String,
}

impl Caught {
    pub(super) fn line(&self) -> String {
        match self.at_seed {
            Some(seed) => format!("caught {} at seed {seed}, by {}", self.bug, self.by),
            None => format!("MISSED {}", self.bug),
        }
    }
}

/// All seeds together.
#[derive(Default)]
pub(super) struct Total {
    hashes: BTreeMap<u64, String>,
    failed: Vec<u64>,
    violations: usize,
    simulated_ms: u64,
    counts: BTreeMap<String, u64>,
    twice: usize,
    differ: Vec<u64>,
    pub(super) planted: Vec<Caught>,
}

impl Total {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.hashes.insert(outcome.seed, outcome.log_hash.clone());
        if outcome.failure.is_some() {
            self.failed.push(outcome.seed);
        }
        self.violations += outcome.violations;
        self.simulated_ms += outcome.simulated_ms;
        for (key, count) in &outcome.counts {
            *self.counts.entry(key.clone()).or_default() += count;
        }
    }

    /// Takes in a second run of a seed.
    pub(super) fn compare(&mut self, again: &Outcome) {
        self.twice += 1;
        if self.hashes.get(&again.seed) != Some(&again.log_hash) {
            self.differ.push(again.seed);
        }
    }

    fn count(&self, key: &str) -> u64 {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// Why it is no success.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.failed.is_empty() {
            problems.push(format!("{} seeds failed: {:?}", self.failed.len(), self.failed));
        }
        if !self.differ.is_empty() {
            problems.push(format!("seeds that ran twice differ: {:?}", self.differ));
        }
        for caught in self.planted.iter().filter(|caught| caught.at_seed.is_none()) {
            problems.push(format!("the planted bug {} was not caught", caught.bug));
        }
        let seeds = self.hashes.len();
        if self.count("crashes") < CRASHES_MIN * seeds as u64 {
            problems.push(format!("only {} crashes", self.count("crashes")));
        }
        if seeds >= SEEDS_FOR_MINIMA {
            for fault in FAULTS.iter().filter(|fault| self.count(fault) == 0) {
                problems.push(format!("no {fault}"));
            }
        }
        problems
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{} seeds, {} violations; {} crashes, {} partitions, {} pauses, {} restarts; {} sleeps, \
             {} wakes, {} crashes asleep; {} writes acknowledged, {} reads judged; {} s simulated; {} run twice, {} differ",
            self.hashes.len(),
            self.violations,
            self.count("crashes"),
            self.count("partitions"),
            self.count("pauses"),
            self.count("restarts"),
            self.count("sleeps"),
            self.count("wakes"),
            self.count("crashes_asleep"),
            self.count("writes_acknowledged"),
            self.count("reads_judged"),
            self.simulated_ms / 1000,
            self.twice,
            self.differ.len(),
        )
    }

    pub(super) fn json(&self, first: u64, took: Duration) -> Value {
        let planted = self.planted.iter().map(|caught| {
            json!({
                "name": caught.bug,
                "caught": caught.at_seed.is_some(),
                "caught_at_seed": caught.at_seed,
                "by": caught.by,
            })
        });
        let mut all = json!({
            "seeds": self.hashes.len(),
            "first": first,
            "violations": self.violations,
            "failed_seeds": self.failed,
            "simulated_seconds": self.simulated_ms / 1000,
            "run_twice": self.twice,
            "differ": self.differ,
            "planted": planted.collect::<Vec<_>>(),
            "seconds": took.as_secs(),
        });
        for (key, count) in &self.counts {
            all[key] = json!(count);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seed: u64, hash: &str, violations: &str) -> Outcome {
        let line = format!(
            r#"{{"seed":{seed},"log_hash":"{hash}","simulated_ms":1500,"violations":[{violations}],
                "counts":{{"crashes":6,"partitions":1}}}}"#
        );
        Outcome::read(seed, &format!("other\n{}", line.replace('\n', "")), Path::new("said"))
    }

    #[test]
    fn what_is_wrong_is_told() {
        let mut total = Total::default();
        total.add(&report(1, "aa", ""));
        total.compare(&report(1, "aa", ""));
        assert_eq!(total.problems(), Vec::<String>::new());
        assert_eq!(total.json(1, Duration::ZERO)["crashes"], 6);

        total.compare(&report(1, "ab", ""));
        let bad = r#"{"invariant":"stale","what":"a read","at_ms":7}"#;
        let bad = report(2, "cc", bad);
        assert_eq!(bad.failure.as_deref(), Some("stale at 7 ms: a read"));
        total.add(&bad);
        total.add(&Outcome::read(3, "", Path::new("said")));
        total.planted.push(Caught { bug: "x", at_seed: None, by: String::new() });
        let problems = total.problems().join("; ");
        for part in ["[2, 3]", "differ: [1]", "bug x", "only 12 crashes"] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
    }
}
