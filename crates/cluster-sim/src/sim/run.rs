//! One seed, from the first boot to the last read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use turmoil::Sim;

use super::chance::Chance;
use super::client::{self, Client};
use super::fault::Faults;
use super::invariant::{Alive, Invariants, Scene, WITHIN_MS};
use super::ledger::Ledger;
use super::log::Log;
use super::node;
use super::report::Report;
use super::world::World;

const NODES: u64 = 3;
const CLIENTS: u64 = 4;
/// Less says nothing: reads judged, and writes acknowledged.
const READS_MIN: u64 = 100;
const WRITES_MIN: u64 = 50;
/// The first boot of all nodes.
const BOOT_MS: u64 = 30_000;
/// Every third seed ends with a roll in quiet times.
const ROLLS_EVERY: u64 = 3;
/// No fault for so long: those who serve can have been elected.
const QUIET_MS: u64 = 4500;
/// At the end, every object is read on every node.
const LAST_READS_MS: u64 = 60_000;

/// How to run a seed.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// How long things break, in simulated milliseconds.
    pub faults_ms: u64,
    /// Not fewer than so many crashes: the faults go on until then.
    pub crashes_min: u64,
    /// Shows every event.
    pub loud: bool,
}

/// A run under way.
struct Run<'a> {
    plan: Plan,
    sim: Sim<'a>,
    world: Arc<World>,
    faults: Faults,
    invariants: Invariants,
    /// A panic somewhere: the simulation cannot go on.
    is_broken: bool,
}

/// Runs one seed. At most one in a process: what runs before it would change it.
#[must_use]
pub fn run(plan: Plan) -> (Report, Vec<String>) {
    let mut chance = Chance::new(plan.seed, "run");
    let partitions = 2 + chance.below(4);
    let world = Arc::new(World::new(plan.seed, NODES, partitions, plan.loud));
    let ledger = Ledger::default();
    let latest_ms = *chance.pick(&[2, 8, 30]);
    let mut sim = node::machines(&world, plan.seed, Duration::from_millis(latest_ms));
    for nth in 0..CLIENTS {
        let (world, ledger) = (Arc::clone(&world), ledger.clone());
        let chance = Chance::new(plan.seed, &format!("client {nth}"));
        sim.client(format!("client-{nth}"), async move {
            Client::new(world, ledger, chance).await?.run().await;
            Ok(())
        });
    }
    let mut run = Run {
        plan,
        sim,
        world: Arc::clone(&world),
        faults: Faults::new(plan.seed),
        invariants: Invariants::default(),
        is_broken: false,
    };
    run.all();
    if !run.is_broken {
        let chance = Chance::new(plan.seed, "last reads");
        let world = Arc::clone(&world);
        run.sim.client("last-reader", async move {
            client::read_all(Client::new(world, ledger, chance).await?).await;
            Ok(())
        });
        run.until("last reads", LAST_READS_MS, |_, finished| finished);
    }
    run.end()
}

impl Run<'_> {
    /// Boot, faults, healing, and the end of the clients.
    fn all(&mut self) {
        let alive = |run: &Self, _| run.is_alive().is_ok();
        if !self.until("first boot", BOOT_MS, alive) {
            return;
        }
        let (began_ms, plan) = (self.now_ms(), self.plan);
        loop {
            let spent_ms = self.now_ms() - began_ms;
            let counts = self.world.lock().counts;
            // Clients rest now and then: where they did so for long, it takes longer.
            let used = counts.reads_judged >= READS_MIN && counts.writes_acknowledged >= WRITES_MIN;
            let is_enough =
                spent_ms >= plan.faults_ms && counts.crashes >= plan.crashes_min && used;
            if is_enough || spent_ms >= 4 * plan.faults_ms {
                break;
            }
            self.faults.look(&mut self.sim, &self.world, true);
            if self.step().is_none() {
                return;
            }
        }
        self.faults.heal(&mut self.sim, &self.world);
        if !self
            .until("alive", WITHIN_MS, |run, _| !run.faults.is_rolling() && run.is_alive().is_ok())
        {
            return;
        }
        if plan.seed.is_multiple_of(ROLLS_EVERY) && !self.roll() {
            return;
        }
        // What is under way ends, and so do the clients.
        self.wait(1000);
        self.world.lock().clients_stop = true;
        self.until("clients end", 60_000, |_, finished| finished);
    }

    /// Restarts every node in turn, in quiet times: nobody leads behind a closed
    /// port then, not for a moment.
    fn roll(&mut self) -> bool {
        self.world.event("a roll in quiet times");
        for node in self.world.nodes.clone() {
            self.wait(QUIET_MS);
            self.faults.roll(&self.world, node);
            let is_back = |run: &Self, _| !run.faults.is_rolling() && run.is_alive().is_ok();
            if !self.until("back from a roll", WITHIN_MS, is_back) {
                return false;
            }
            let live = self.world.lock().live.get(&node).cloned();
            let unserved = live.map_or(Duration::MAX, |live| live.host.leader_unserved());
            if !unserved.is_zero() {
                let what = format!("node {node} led behind its closed port for {unserved:?}");
                self.world.lock().violated("closed_port", what);
            }
            self.world.lock().counts.rolled += 1;
        }
        true
    }

    fn wait(&mut self, wait_ms: u64) {
        let end_ms = self.now_ms() + wait_ms;
        self.until("time passes", wait_ms + 1, |run, _| run.now_ms() >= end_ms);
    }

    /// Goes on until something is so; false, and a violation, if it does not
    /// become so in time.
    fn until(
        &mut self,
        what: &str,
        within_ms: u64,
        mut is_so: impl FnMut(&Self, bool) -> bool,
    ) -> bool {
        let give_up_ms = self.now_ms() + within_ms;
        loop {
            self.faults.look(&mut self.sim, &self.world, false);
            let Some(finished) = self.step() else { return false };
            if is_so(self, finished) {
                return true;
            }
            if self.now_ms() >= give_up_ms {
                let why = self.is_alive().err().unwrap_or_default();
                let what = format!("{what}: not within {within_ms} ms; {why}");
                self.world.lock().violated("alive", what);
                return false;
            }
        }
    }

    /// One simulated millisecond, and a look at all invariants. Whether all
    /// clients are done; `None`: it cannot go on.
    fn step(&mut self) -> Option<bool> {
        let stepped = catch_unwind(AssertUnwindSafe(|| self.sim.step()));
        let why = match stepped {
            Ok(Ok(finished)) => {
                let now_ms = u64::try_from(self.sim.elapsed().as_millis()).expect("not that long");
                self.world.lock().now_ms = now_ms;
                let scene = Scene::now(&self.world, self.faults.disturbed_ms);
                self.invariants.look(&self.world, &scene);
                return Some(finished);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "a task panicked; what it said is above".to_owned(),
        };
        self.is_broken = true;
        self.world.lock().violated("panic", why);
        None
    }

    fn now_ms(&self) -> u64 {
        self.world.lock().now_ms
    }

    fn is_alive(&self) -> Result<(), String> {
        Alive::look(&self.world, &Scene::now(&self.world, 0))
    }

    fn end(self) -> (Report, Vec<String>) {
        let mut world = self.world.lock();
        let counts = world.counts;
        if !self.is_broken && counts.crashes < self.plan.crashes_min {
            let what = format!("{} crashes, {} wanted", counts.crashes, self.plan.crashes_min);
            world.violated("minimum", what);
        }
        if !self.is_broken
            && (counts.reads_judged < READS_MIN || counts.writes_acknowledged < WRITES_MIN)
        {
            let (reads, writes) = (counts.reads_judged, counts.writes_acknowledged);
            world.violated("minimum", format!("{reads} reads judged, {writes} writes"));
        }
        let report = Report {
            seed: self.plan.seed,
            log_hash: format!("{:016x}", world.log.hash()),
            log_len: world.log.count(),
            simulated_ms: world.now_ms,
            violations: world.violations.clone(),
            counts,
        };
        let tail = Log::tail(&world.log).map(str::to_owned).collect();
        drop(world);
        if self.is_broken {
            // Its runtimes cannot be taken apart in order any more.
            std::mem::forget(self.sim);
        }
        (report, tail)
    }
}
