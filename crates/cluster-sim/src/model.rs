//! The start-up and drain protocol of a cluster as a state machine, explored
//! whole: three nodes, two partitions, crashes and starts anywhere, messages
//! lost, repeated and overtaken, a slow and a bad partition.
//!
//! What decides is not written again here: each node's gate is a real
//! [`startup_gate::machine::Machine`], and each replica asks
//! [`raft_glue::protocol`], as the host does. What is abstract is Raft itself
//! and the network; `docs/decisions/0007-model-checker.md` says what that leaves
//! out.
//!
//! It is no simulation: there is no clock and no chance, every order of events
//! within a scenario's bounds is tried.

#![expect(
    clippy::cast_possible_truncation,
    reason = "nodes, partitions and terms are counted in one digit"
)]

mod action;
mod explore;
mod gates;
mod liveness;
mod mutations;
mod property;
mod report;
mod rules;
mod scenario;
mod step;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use report::{CounterExample, MutationReport, PropertyReport, Report, ScenarioReport};

use explore::Explored;
use scenario::Scenario;
use step::Model;

/// More states than any scenario has: a scenario that reaches it is broken.
const STATES_MAX: usize = 3_000_000;
/// A run must see at least this many, or it has checked little.
const STATES_MIN: usize = 1_000_000;
const STATES_MIN_QUICK: usize = 20_000;
/// Scenarios explored at the same time: each needs memory, not only a core.
const PARALLEL: usize = 2;

/// Explores every scenario, and every broken rule until it is caught. `quick`:
/// the small scenarios only. `tell` is called once for each that is finished,
/// with a line about it.
///
/// # Panics
/// If a thread that explores does.
pub fn run(quick: bool, tell: &(dyn Fn(&str) + Sync)) -> Report {
    let began = Instant::now();
    let scenarios = if quick { scenario::quick() } else { scenario::all() };
    let mutations = mutations::all();
    let broken = mutations.iter().map(|broken| broken.scenario);
    // The quick ones first.
    let jobs: Vec<Scenario> = broken.chain(scenarios.iter().copied()).collect();
    let results = explore_all(&jobs, tell);
    let (caught, explored) = results.split_at(mutations.len());
    let states_min = if quick { STATES_MIN_QUICK } else { STATES_MIN };
    let mut report = Report::new(states_min);
    for (scenario, (explored, seconds)) in scenarios.iter().zip(explored) {
        report.add_scenario(scenario, explored, *seconds);
    }
    for (mutation, (explored, _)) in mutations.iter().zip(caught) {
        report.add_mutation(mutation, explored);
    }
    report.seconds = began.elapsed().as_secs_f64();
    report
}

fn explore_all(jobs: &[Scenario], tell: &(dyn Fn(&str) + Sync)) -> Vec<(Explored, f64)> {
    let taken = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<(Explored, f64)>>> =
        Mutex::new(std::iter::repeat_with(|| None).take(jobs.len()).collect());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let index = taken.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = jobs.get(index) else { return };
                    let began = Instant::now();
                    let explored = explore::explore(&mut Model::new(*scenario), STATES_MAX);
                    let seconds = began.elapsed().as_secs_f64();
                    tell(&report::line(scenario, &explored, seconds));
                    let mut done = done.lock().expect("nobody panics while holding it");
                    done[index] = Some((explored, seconds));
                }
            });
        }
    });
    let done = done.into_inner().expect("every thread ended well");
    done.into_iter().map(|result| result.expect("every job was taken")).collect()
}
