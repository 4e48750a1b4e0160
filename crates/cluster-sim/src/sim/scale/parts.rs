//! The parts of a run, one after the other: awake, a process killed, asleep, under
//! load, all woken at once, a machine lost, a cold start.

use std::collections::BTreeSet;
use std::time::Duration;

use partition_types::NodeId;

use super::census::Census;
use super::traffic::{Kind, Traffic};
use super::{Scale, Stuck};

const WINDOW: Duration = Duration::from_secs(5);
/// Long enough for what comes after an election, too short for all to sleep.
const SETTLE: Duration = Duration::from_secs(3);
/// No part takes so long.
const PATIENCE: Duration = Duration::from_secs(180);

/// For a group that lost its leader: pre-votes and votes of those who are left, and the
/// first entry of the one who wins, with its commit and heartbeats.
const STORM_CALLS: f64 = 12.0;

/// Within a twentieth of the model.
const CLOSE: (f64, f64) = (0.95, 1.05);
/// Within a quarter.
const ABOUT: (f64, f64) = (0.75, 1.25);
/// The model is the most there may be.
const AT_MOST: (f64, f64) = (0.0, 1.0);

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

impl Scale<'_> {
    pub(super) fn all(&mut self) -> Result<(), Stuck> {
        let took = self.until("the first start", PATIENCE, Self::is_led_and_open)?;
        self.say(&format!("all led and open after {took} s"));
        self.until("each led by its first node", PATIENCE, |run| run.is_as_preferred())?;
        self.pass(SETTLE)?;
        self.awake()?;
        let killed = self.world.nodes[0];
        self.storm("a process is killed, all awake", killed, true)?;
        self.come_back("the killed process starts again", killed)?;
        self.fall_asleep()?;
        self.asleep()?;
        self.under_load()?;
        self.fall_asleep()?;
        self.stampede()?;
        self.fall_asleep()?;
        let lost = self.world.nodes[self.world.nodes.len() / 2];
        self.storm("a machine is lost, all asleep", lost, false)?;
        self.come_back("the lost machine starts again", lost)?;
        self.cold_start()
    }

    fn awake(&mut self) -> Result<(), Stuck> {
        const PART: &str = "all awake, nobody writes";
        self.say(PART);
        let seen = self.window()?;
        let (seconds, nodes) = (WINDOW.as_secs_f64(), self.model.nodes);
        let per_node = |count: u64| number(count) / seconds / nodes;
        let (calls, messages) = (self.model.awake_calls(), self.model.awake_messages());
        self.figure(PART, "calls a second and node", per_node(seen.calls()), calls, CLOSE);
        self.figure(PART, "messages a second and node", per_node(seen.messages()), messages, ABOUT);
        let busiest = number(seen.busiest_way()) / seconds;
        let most = self.model.way_max();
        self.figure(PART, "messages a second, the busiest way", busiest, most, AT_MOST);
        let busiest = number(seen.busiest_node()) / seconds;
        let most = self.model.peers() * most;
        self.figure(PART, "messages a second, the busiest node", busiest, most, AT_MOST);
        self.hello(PART, &seen);
        self.no_elections(PART, &seen);
        Ok(())
    }

    fn asleep(&mut self) -> Result<(), Stuck> {
        const PART: &str = "all asleep";
        self.say(PART);
        let seen = self.window()?;
        let (seconds, nodes) = (WINDOW.as_secs_f64(), self.model.nodes);
        let per_node = number(seen.messages()) / seconds / nodes;
        let model = self.model.asleep_messages();
        self.figure(PART, "messages a second and node", per_node, model, CLOSE);
        self.figure(
            PART,
            "calls of groups",
            number(seen.calls() - seen.calls_of(Kind::Beat)),
            0.0,
            AT_MOST,
        );
        self.hello(PART, &seen);
        self.no_elections(PART, &seen);
        Ok(())
    }

    fn under_load(&mut self) -> Result<(), Stuck> {
        const PART: &str = "clients write to partitions by chance";
        self.say(PART);
        self.dial.set(self.plan.writes_per_second);
        // Until as many fall asleep as wake.
        self.pass(self.world.hibernate_after + SETTLE)?;
        self.dial.take();
        let seen = self.window()?;
        let awake = self.model.groups - number(Census::take(&self.world).asleep());
        self.dial.set(0);
        let tally = self.dial.take();
        let model = self.model.load(number(self.plan.writes_per_second));
        let (seconds, nodes) = (WINDOW.as_secs_f64(), self.model.nodes);
        let calls = number(seen.calls() - seen.calls_of(Kind::Beat)) / seconds / nodes;
        self.figure(PART, "groups awake", awake, model.awake, ABOUT);
        self.figure(PART, "calls a second and node", calls, model.calls / nodes, ABOUT);
        self.figure(PART, "writes that failed", number(tally.failed), 0.0, AT_MOST);
        self.no_elections(PART, &seen);
        Ok(())
    }

    /// One write to every group at the same moment, while all sleep.
    fn stampede(&mut self) -> Result<(), Stuck> {
        const PART: &str = "every group is woken at once";
        self.say(PART);
        self.dial.take();
        self.count();
        self.dial.write_to(self.world.partitions.clone());
        self.pass(Duration::from_millis(10))?;
        self.until("every write", PATIENCE, |run| run.dial.tally().is_level())?;
        let seen = self.counted();
        let tally = self.dial.take();
        self.figure(PART, "writes that failed", number(tally.failed), 0.0, AT_MOST);
        self.figure(
            PART,
            "the slowest write, ms",
            number(tally.permille_ms(1000)),
            1000.0,
            AT_MOST,
        );
        self.no_elections(PART, &seen);
        Ok(())
    }

    /// One node goes while nobody writes.
    fn storm(
        &mut self,
        part: &'static str,
        node: NodeId,
        machine_goes_on: bool,
    ) -> Result<(), Stuck> {
        self.say(part);
        let calm = number(self.window()?.calls()) / WINDOW.as_secs_f64();
        let before = Census::take(&self.world);
        let lost = number(before.led_by(node));
        self.count();
        self.kill(node, machine_goes_on);
        let took_s = self.until("a leader for each group", PATIENCE, Self::is_led)?;
        // What they still have to say.
        self.pass(SETTLE)?;
        let seen = self.counted();
        let now = Census::take(&self.world);
        let elections = number(now.terms() - before.terms());
        let disturbed = number(now.disturbed_since(&before, &self.world, node));
        self.figure(part, "leaderships lost", lost, self.model.groups / self.model.nodes, ABOUT);
        self.figure(part, "elections", elections, lost, (1.0, 1.1));
        // Of two who are left each asks the other and the one that is gone; where both
        // have to notice its silence by themselves, the first one asks again.
        let rounds = if machine_goes_on { 1.0 } else { 2.0 };
        let most = 4.0 * rounds * lost;
        self.figure(part, "pre-votes", number(seen.calls_of(Kind::PreVote)), most, AT_MOST);
        self.figure(part, "votes", number(seen.calls_of(Kind::Vote)), 2.0 * lost, (0.5, 1.25));
        let busiest = number(seen.busiest_second());
        let most = calm + STORM_CALLS * lost;
        self.figure(part, "calls in the busiest second, all nodes", busiest, most, AT_MOST);
        let most_s = if machine_goes_on { 2.0 } else { 8.0 };
        self.figure(part, "seconds until all are led", took_s, most_s, AT_MOST);
        self.figure(part, "groups of other nodes disturbed", disturbed, 0.0, AT_MOST);
        Ok(())
    }

    /// A node that went comes back, and gets back what it led.
    fn come_back(&mut self, part: &'static str, node: NodeId) -> Result<(), Stuck> {
        let before = Census::take(&self.world);
        self.count();
        self.start(node);
        let open_s = self.until("its port open", PATIENCE, |run| run.is_open(node))?;
        self.say(&format!("node {node} is open after {open_s} s"));
        let back_s = self.until("its leaderships", PATIENCE, Self::is_as_preferred)?;
        let seen = self.counted();
        let now = Census::take(&self.world);
        let led = number(now.led_by(node));
        self.figure(
            part,
            "hand-backs",
            number(seen.calls_of(Kind::Transfer)),
            2.0 * led,
            (0.5, 1.0),
        );
        self.figure(part, "elections", number(now.terms() - before.terms()), led, (1.0, 1.1));
        self.figure(part, "seconds until it leads all it led", open_s + back_s, 30.0, AT_MOST);
        let disturbed = number(now.disturbed_since(&before, &self.world, node));
        self.figure(part, "groups of other nodes disturbed", disturbed, 0.0, AT_MOST);
        Ok(())
    }

    /// Every node loses its power, and all start at once.
    fn cold_start(&mut self) -> Result<(), Stuck> {
        const PART: &str = "cold start of all nodes";
        self.say(PART);
        let before = Census::take(&self.world);
        for node in self.world.nodes.clone() {
            self.kill(node, false);
        }
        self.count();
        for node in self.world.nodes.clone() {
            self.start(node);
        }
        let took_s = self.until("a leader for each group", PATIENCE, Self::is_led_and_open)?;
        let seen = self.counted();
        let now = Census::take(&self.world);
        let elections = number(now.terms() - before.terms());
        let groups = self.model.groups;
        self.figure(PART, "elections", elections, groups, (1.0, 1.1));
        self.figure(
            PART,
            "led by their first node",
            number(now.as_preferred(&self.world)),
            groups,
            (0.9, 1.0),
        );
        self.figure(
            PART,
            "votes and pre-votes",
            number(seen.calls_of(Kind::Vote) + seen.calls_of(Kind::PreVote)),
            4.0 * groups,
            (0.5, 1.25),
        );
        self.figure(PART, "seconds until all are led and served", took_s, 30.0, AT_MOST);
        Ok(())
    }

    /// What is said in a while.
    fn window(&mut self) -> Result<Traffic, Stuck> {
        self.count();
        self.pass(WINDOW)?;
        Ok(self.counted())
    }

    /// The simulator's own stand-in, which greets every node: for comparison.
    fn hello(&mut self, part: &'static str, seen: &Traffic) {
        let hellos = number(seen.hellos()) / WINDOW.as_secs_f64() / self.model.nodes;
        self.say(&format!("{part}: {hellos:.1} hellos a second and node"));
    }

    fn no_elections(&mut self, part: &'static str, seen: &Traffic) {
        let votes = seen.calls_of(Kind::PreVote) + seen.calls_of(Kind::Vote);
        self.figure(part, "votes and pre-votes", number(votes), 0.0, AT_MOST);
    }

    fn fall_asleep(&mut self) -> Result<(), Stuck> {
        let took = self.until("all asleep", PATIENCE, Self::is_asleep)?;
        self.say(&format!("all asleep after {took} s"));
        self.pass(SETTLE)
    }

    fn is_led(&self) -> bool {
        let live = self.world.lock().live.clone();
        let mut led = BTreeSet::new();
        for live in live.values() {
            led.extend(live.host.list().iter().filter(|one| one.is_leader()).map(|one| one.id()));
        }
        led.len() == self.world.partitions.len()
    }

    fn is_open(&self, node: NodeId) -> bool {
        let inner = self.world.lock();
        inner.live.get(&node).is_some_and(|live| live.open_since_ms.is_some())
    }

    fn is_led_and_open(&self) -> bool {
        self.world.nodes.iter().all(|node| self.is_open(*node)) && self.is_led()
    }

    fn is_as_preferred(&self) -> bool {
        let live = self.world.lock().live.clone();
        self.world.partitions.iter().all(|id| {
            let first = live.get(&self.world.placed(*id)[0]);
            first.and_then(|live| live.host.get(*id)).is_some_and(|replica| replica.is_leader())
        })
    }

    fn is_asleep(&self) -> bool {
        let live = self.world.lock().live.clone();
        live.values().all(|live| live.host.list().iter().all(raft_glue::Partition::is_asleep))
    }
}
