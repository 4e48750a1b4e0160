//! What a run came to: each figure beside what the model says.

/// One figure.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Figure {
    /// In which part of the run.
    pub part: &'static str,
    /// What was counted, with its unit.
    pub what: &'static str,
    /// What it came to.
    pub measured: f64,
    /// What the model says.
    pub model: f64,
    /// It must be at least so many times the model.
    pub factor_min: f64,
    /// And at most so many times.
    pub factor_max: f64,
}

impl Figure {
    /// Whether it is within its bounds.
    #[must_use]
    pub fn holds(&self) -> bool {
        let Self { measured, model, factor_min, factor_max, .. } = *self;
        (model * factor_min..=model * factor_max).contains(&measured)
    }
}

/// What a run came to. The same in every run of a plan with the same program.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ScaleReport {
    /// The seed.
    pub seed: u64,
    /// How many nodes.
    pub nodes: u64,
    /// How many partitions, of three replicas each.
    pub groups: u64,
    /// Writes a second while clients wrote.
    pub writes_per_second: u64,
    /// How long it was for the nodes.
    pub simulated_ms: u64,
    /// Equal in all runs of the plan with the same program.
    pub log_hash: String,
    /// The figures, in the order in which they were taken.
    pub figures: Vec<Figure>,
    /// What was wrong: figures out of bounds, and parts that did not come to an end.
    pub problems: Vec<String>,
}

impl ScaleReport {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let mut table = String::new();
        let mut part = "";
        for figure in &self.figures {
            if figure.part != part {
                part = figure.part;
                let _ = writeln!(table, "{part}");
            }
            let Figure { what, measured, model, .. } = figure;
            let sign = if figure.holds() { "" } else { "  OUT OF BOUNDS" };
            let _ = writeln!(table, "  {what:<58} {measured:>11.1}  model {model:>11.1}{sign}");
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::Figure;

    #[test]
    fn bounds_are_on_both_sides() {
        let figure = |measured, model, factor_min, factor_max| Figure {
            part: "",
            what: "",
            measured,
            model,
            factor_min,
            factor_max,
        };
        assert!(figure(11.0, 10.0, 0.9, 1.1).holds());
        assert!(!figure(11.1, 10.0, 0.9, 1.1).holds());
        assert!(!figure(8.0, 10.0, 0.9, 1.1).holds(), "nothing was counted");
        assert!(figure(0.0, 0.0, 0.0, 1.0).holds());
        assert!(!figure(1.0, 0.0, 0.0, 1.0).holds(), "nobody else may be disturbed");
    }
}
