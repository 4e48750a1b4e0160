//! What a run found, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::explore::{Explored, Violation};
use super::mutations::Broken;
use super::scenario::Scenario;
use super::{liveness, property};

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Distinct states of all scenarios together; those of the mutations apart.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// Fewer states than this, and the run has not checked enough.
    pub states_min: usize,
    /// Scenarios in which a property does not hold.
    pub violations: usize,
    /// Every property, and whether it holds in all scenarios.
    pub properties: Vec<PropertyReport>,
    /// Every rule that was broken on purpose, and whether that was noticed.
    pub mutations: Vec<MutationReport>,
    /// Every scenario.
    pub scenarios: Vec<ScenarioReport>,
    /// What went wrong, if anything did.
    pub counter_examples: Vec<CounterExample>,
    /// Wall time.
    pub seconds: f64,
}

/// One property.
#[derive(Debug, Clone, Serialize)]
pub struct PropertyReport {
    /// Its name.
    pub name: &'static str,
    /// What it says, as the design has it.
    pub says: &'static str,
    /// Whether it holds in every state that was reached.
    pub holds: bool,
}

/// One rule that was broken on purpose.
#[derive(Debug, Clone, Serialize)]
pub struct MutationReport {
    /// What was broken.
    pub name: &'static str,
    /// Whether the property that is there for it was violated.
    pub caught: bool,
    /// The property that was violated; empty if none was.
    pub property: &'static str,
    /// Length of the counter-example.
    pub steps: usize,
    /// The counter-example, a line a step.
    pub trace: Vec<String>,
}

/// One scenario.
#[derive(Debug, Clone, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: &'static str,
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// The longest way that is needed to reach a state.
    pub depth: usize,
    /// Whether all states within the bounds were reached.
    pub complete: bool,
    /// Wall time.
    pub seconds: f64,
}

/// A property that does not hold.
#[derive(Debug, Clone, Serialize)]
pub struct CounterExample {
    /// In which scenario.
    pub scenario: &'static str,
    /// Which property.
    pub property: &'static str,
    /// How it comes to that, a line a step.
    pub trace: Vec<String>,
}

impl Report {
    pub(super) fn new(states_min: usize) -> Self {
        let says = property::ALL.iter().map(|property| (property.name, property.says));
        let says = says.chain([(liveness::NAME, liveness::SAYS)]);
        Self {
            states: 0,
            steps: 0,
            states_min,
            violations: 0,
            properties: says
                .map(|(name, says)| PropertyReport { name, says, holds: true })
                .collect(),
            mutations: Vec::new(),
            scenarios: Vec::new(),
            counter_examples: Vec::new(),
            seconds: 0.0,
        }
    }

    pub(super) fn add_scenario(&mut self, scenario: &Scenario, found: &Explored, seconds: f64) {
        let name = scenario.name;
        self.states += found.states;
        self.steps += found.steps;
        self.scenarios.push(ScenarioReport {
            name,
            states: found.states,
            steps: found.steps,
            depth: found.depth,
            complete: found.is_complete,
            seconds,
        });
        let Some(Violation { property, trace }) = found.violation.clone() else { return };
        self.violations += 1;
        for known in self.properties.iter_mut().filter(|known| known.name == property) {
            known.holds = false;
        }
        self.counter_examples.push(CounterExample { scenario: name, property, trace });
    }

    pub(super) fn add_mutation(&mut self, broken: &Broken, found: &Explored) {
        let (property, trace) = match found.violation.clone() {
            Some(Violation { property, trace }) => (property, trace),
            None => ("", Vec::new()),
        };
        self.mutations.push(MutationReport {
            name: broken.name(),
            caught: property == broken.violates,
            property,
            steps: trace.len(),
            trace,
        });
    }

    /// Whether everything holds, everything within the bounds was reached, and
    /// every broken rule was noticed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations == 0
            && self.states >= self.states_min
            && self.scenarios.iter().all(|scenario| scenario.complete)
            && self.mutations.iter().all(|mutation| mutation.caught)
    }
}

/// One line about a finished exploration.
pub(super) fn line(scenario: &Scenario, found: &Explored, seconds: f64) -> String {
    let broken = scenario.mutation.map_or("", |mutation| mutation.name());
    let what = if broken.is_empty() { scenario.name } else { broken };
    let end = match (&found.violation, found.is_complete) {
        (Some(violation), _) => format!("violates \"{}\"", violation.property),
        (None, true) => "all reached, nothing violated".to_owned(),
        (None, false) => "NOT all reached".to_owned(),
    };
    format!("{what:<34} {:>9} states {seconds:>6.1} s  {end}", found.states)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nproperties")?;
        for property in &self.properties {
            let word = if property.holds { "holds" } else { "VIOLATED" };
            writeln!(f, "  {word:<9}{}: {}", property.name, property.says)?;
        }
        for found in &self.counter_examples {
            writeln!(f, "\n\"{}\" violates \"{}\":", found.scenario, found.property)?;
            steps(f, &found.trace)?;
        }
        writeln!(f, "\nrules broken on purpose")?;
        for mutation in &self.mutations {
            let word = if mutation.caught { "caught" } else { "MISSED" };
            writeln!(f, "  {word}: {}, violates \"{}\"", mutation.name, mutation.property)?;
            steps(f, &mutation.trace)?;
        }
        write!(
            f,
            "\n{} states, {} steps in {} scenarios; {} violations; {:.1} s",
            self.states,
            self.steps,
            self.scenarios.len(),
            self.violations,
            self.seconds
        )?;
        if self.states < self.states_min {
            write!(f, "; too few states: at least {} are wanted", self.states_min)?;
        }
        Ok(())
    }
}

fn steps(f: &mut fmt::Formatter<'_>, trace: &[String]) -> fmt::Result {
    for (number, line) in (1..).zip(trace) {
        writeln!(f, "    {number:>2}. {line}")?;
    }
    Ok(())
}
