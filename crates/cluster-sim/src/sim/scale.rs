//! A large cluster, to count what its nodes say to each other and how many elections
//! it takes; no faults but the ones that are counted. The hosts, gates and stores are
//! the product's, its clocks the ones that `datanode` has by default.
//!
//! Time is simulated: what the nodes' processors would take is no part of it.

mod census;
mod kind;
mod load;
mod model;
mod parts;
mod report;
mod traffic;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use partition_types::NodeId;
use turmoil::Sim;

use super::chance::Chance;
use super::node;
use super::pace::Pace;
use super::wire::machine;
use super::world::World;
use load::Dial;
use model::Model;
pub use report::{Figure, ScaleReport};
pub(crate) use traffic::Traffic;

const REPLICAS: u64 = 3;
/// Longer than by default, so that there is time to count while all are awake.
const HIBERNATE_AFTER: Duration = Duration::from_secs(15);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct ScalePlan {
    /// Decides what is left to chance.
    pub seed: u64,
    /// How many nodes; at least 5.
    pub nodes: u64,
    /// How many partitions, of three replicas each.
    pub groups: u64,
    /// Writes a second while clients write.
    pub writes_per_second: u64,
    /// Says where it is.
    pub loud: bool,
}

/// A run under way.
struct Scale<'a> {
    plan: ScalePlan,
    sim: Sim<'a>,
    world: Arc<World>,
    dial: Dial,
    model: Model,
    figures: Vec<Figure>,
    problems: Vec<String>,
}

/// It cannot go on; why is among the problems.
struct Stuck;

/// Runs a plan. At most one in a process: what runs before it would change it.
#[must_use]
pub fn run_scale(plan: ScalePlan) -> ScaleReport {
    let mut world = World::new(plan.seed, plan.nodes, plan.groups, false);
    world.replicas = REPLICAS;
    world.pace = Pace::of_the_product();
    world.hibernate_after = HIBERNATE_AFTER;
    // The first part is of groups that all stay awake without use, which a crowd does not.
    world.crowd = usize::MAX;
    // Eager, as by default: on demand nobody is elected in a cold start.
    world.unload_after = None;
    world.lock().mail.heal();
    let world = Arc::new(world);
    let mut sim = node::machines(&world, plan.seed, Duration::from_millis(2));
    let dial = Dial::default();
    let (clients, dialled) = (Arc::clone(&world), dial.clone());
    let chance = Chance::new(plan.seed, "load");
    sim.client("clients", async move { Ok(load::run(clients, dialled, chance).await?) });
    let placed = world.partitions.iter().map(|id| world.placed(*id));
    let model = Model::new(world.nodes.len(), placed, world.pace.heartbeat, HIBERNATE_AFTER);
    let mut scale =
        Scale { plan, sim, world, dial, model, figures: Vec::new(), problems: Vec::new() };
    let is_stuck = scale.all().is_err();
    scale.end(is_stuck)
}

impl Scale<'_> {
    /// One simulated millisecond.
    fn step(&mut self) -> Result<(), Stuck> {
        let why = match catch_unwind(AssertUnwindSafe(|| self.sim.step())) {
            Ok(Ok(_)) => {
                let now_ms = u64::try_from(self.sim.elapsed().as_millis()).expect("not that long");
                self.world.lock().now_ms = now_ms;
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "a task panicked; what it said is above".to_owned(),
        };
        self.problems.push(why);
        Err(Stuck)
    }

    fn now_ms(&self) -> u64 {
        self.world.lock().now_ms
    }

    fn pass(&mut self, time: Duration) -> Result<(), Stuck> {
        for _ in 0..time.as_millis() {
            self.step()?;
        }
        Ok(())
    }

    /// Goes on until something is so, which is looked at now and then. How long that
    /// took, in seconds.
    fn until(
        &mut self,
        what: &str,
        within: Duration,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> Result<f64, Stuck> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let began_ms = self.now_ms();
        loop {
            let took = Duration::from_millis(self.now_ms() - began_ms);
            if is_so(self) {
                return Ok(took.as_secs_f64());
            }
            if took > within {
                self.problems.push(format!("{what}: not within {within:?}"));
                return Err(Stuck);
            }
            self.pass(LOOK_EVERY)?;
        }
    }

    /// Counts from now on.
    fn count(&self) {
        self.world.lock().traffic = Some(Traffic::default());
    }

    /// What was counted.
    fn counted(&self) -> Traffic {
        self.world.lock().traffic.take().unwrap_or_default()
    }

    /// Takes a node's power. Its peers' connections break at once if its machine
    /// goes on.
    fn kill(&mut self, node: NodeId, machine_goes_on: bool) {
        let live = {
            let mut inner = self.world.lock();
            let life = inner.lives.get(&node).copied().unwrap_or(0);
            if machine_goes_on {
                inner.ended.insert((node, life));
            }
            inner.event(&format!("node {node} is killed"));
            inner.live.remove(&node)
        };
        self.world.disks[&node].cut(|unsynced| unsynced);
        drop(live);
        self.sim.crash(machine(node));
    }

    fn start(&mut self, node: NodeId) {
        self.sim.bounce(machine(node));
    }

    /// Takes a figure.
    fn figure(
        &mut self,
        part: &'static str,
        what: &'static str,
        measured: f64,
        model: f64,
        factors: (f64, f64),
    ) {
        let (factor_min, factor_max) = factors;
        let figure = Figure { part, what, measured, model, factor_min, factor_max };
        if !figure.holds() {
            self.problems.push(format!(
                "{part}: {what}: {measured:.1}, by the model {model:.1} \
                 ({factor_min} to {factor_max} times that)"
            ));
        }
        self.figures.push(figure);
    }

    fn say(&self, what: &str) {
        if self.plan.loud {
            eprintln!("{:>8} ms  {what}", self.now_ms());
        }
    }

    fn end(mut self, is_stuck: bool) -> ScaleReport {
        let (simulated_ms, log_hash) = {
            let world = self.world.lock();
            for violation in &world.violations {
                self.problems.push(format!("{}: {}", violation.invariant, violation.what));
            }
            (world.now_ms, format!("{:016x}", world.log.hash()))
        };
        let report = ScaleReport {
            seed: self.plan.seed,
            nodes: self.plan.nodes,
            groups: self.plan.groups,
            writes_per_second: self.plan.writes_per_second,
            simulated_ms,
            log_hash,
            figures: self.figures,
            problems: self.problems,
        };
        if is_stuck {
            // Its runtimes may not be taken apart in order any more.
            std::mem::forget(self.sim);
        }
        report
    }
}
