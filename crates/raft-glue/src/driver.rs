//! The clock of all groups of a node: one task that knows what is due when.
//!
//! openraft would tick five times an interval for each group, busy or idle. Its
//! ticks do two things, and both are done here: a leader's heartbeats, and the
//! election timer of everybody else. All that happens in one slot of time
//! happens in one turn, so that what goes to one peer goes in one message.
//!
//! | replica | due | then |
//! |---|---|---|
//! | leads | in its own slot of each heartbeat interval, or of two of them | heartbeat |
//! | follows, campaigns | a random time after it last heard of its leader | campaign |
//! | sleeps, is alone, does not vote, is not in memory | never | |
//!
//! A message of the leader only notes the time: the timer finds that when it is
//! due, and is set again for the rest. What is decided when it is due is
//! [`protocol::Timed`]'s.

mod agenda;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use partition_types::{NodeId, PartitionId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::group::Group;
use crate::protocol::{self, Due, Timed};
use crate::shared::Shared;
use crate::sleep::{self, Candidate};
use agenda::Agenda;

/// Slots in a heartbeat interval: heartbeats are spread over them.
const SLOTS: u32 = 10;
/// Where more replicas than this have something due, their leaders are heard of half as
/// often: a thousand of them take a twelfth of a core of each node for heartbeats.
const MANY: usize = 750;
/// Groups in one turn; others run in between two.
const TURN_MAX: usize = 256;

/// What is due when on this node.
pub(crate) struct Driver {
    agenda: Mutex<Agenda>,
    changed: Notify,
    began: Instant,
    slot: Duration,
    /// Makes the chance of this node its own.
    seed: u64,
    election_timeout: (Duration, Duration),
    /// When this process went on after a pause.
    resumed_at: Mutex<Option<Instant>>,
}

/// When one replica's timer runs out.
pub(crate) struct Timer {
    /// It heard of a leader, or something happened to its vote.
    base: Instant,
    timeout: Duration,
    draws: u64,
    /// It ran out while it could not run.
    held: bool,
}

impl Default for Timer {
    fn default() -> Self {
        Self { base: Instant::now(), timeout: Duration::ZERO, draws: 0, held: false }
    }
}

impl Driver {
    pub(crate) fn new(
        heartbeat_interval: Duration,
        election_timeout: (Duration, Duration),
        seed: u64,
    ) -> Self {
        Self {
            agenda: Mutex::default(),
            changed: Notify::new(),
            began: Instant::now(),
            slot: (heartbeat_interval / SLOTS).max(Duration::from_millis(1)),
            seed,
            election_timeout,
            resumed_at: Mutex::default(),
        }
    }

    /// Something of `due` runs now. Where that is much too late, the process, or
    /// all of its machine, stood still: what came meanwhile is not heard yet, and
    /// nobody is taken for silent before it was. Once in the time of two
    /// elections only: a machine that is always late must elect too.
    pub(crate) fn runs(&self, due: Instant) {
        let (late, (shortest, longest)) = (due.elapsed(), self.election_timeout);
        if late < shortest / 2 {
            return;
        }
        let mut resumed_at = self.resumed_at.lock();
        if resumed_at.is_none_or(|at| at.elapsed() > longest * 2) {
            tracing::info!(?late, "this process stood still");
            *resumed_at = Some(Instant::now());
        }
    }

    /// When this process went on after a pause; or when it began.
    pub(crate) fn resumed_at(&self) -> Instant {
        self.resumed_at.lock().unwrap_or(self.began)
    }

    /// The slot that runs now.
    fn now(&self) -> u64 {
        self.slots_in(self.began.elapsed())
    }

    fn slots_in(&self, time: Duration) -> u64 {
        u64::try_from(time.as_nanos() / self.slot.as_nanos()).unwrap_or(u64::MAX)
    }

    /// When a slot begins.
    fn at(&self, slot: u64) -> Instant {
        let nanos = self.slot.as_nanos().saturating_mul(u128::from(slot));
        self.began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
    }

    fn set(&self, id: PartitionId, slot: u64) {
        if self.agenda.lock().set(id, slot) {
            self.changed.notify_one();
        }
    }

    /// Due when `wait` is over.
    pub(crate) fn set_after(&self, id: PartitionId, wait: Duration) {
        // The slot that runs has begun already.
        self.set(id, self.now() + self.slots_in(wait) + 1);
    }

    /// Due in the group's own slot of the time between two beats: its next one.
    fn set_beat(&self, id: PartitionId) {
        let slots = u64::from(SLOTS * self.intervals());
        let (phase, now) = (protocol::mix(id.get()) % slots, self.now());
        let ahead = (phase + slots - now % slots - 1) % slots + 1;
        self.set(id, now + ahead);
    }

    /// Heartbeat intervals between two beats of a group: two of many, if that makes two
    /// beats still in the shortest time that a follower waits for one.
    fn intervals(&self) -> u32 {
        let is_patient = self.election_timeout.0 >= self.slot * SLOTS * 4;
        if is_patient && self.count() > MANY { 2 } else { 1 }
    }

    /// Replicas for which something is due.
    pub(crate) fn count(&self) -> usize {
        self.agenda.lock().len()
    }

    pub(crate) fn forget(&self, id: PartitionId) {
        self.agenda.lock().remove(id);
    }

    /// Of this node with a peer; always the same.
    pub(crate) fn chance_of(&self, peer: NodeId) -> u64 {
        protocol::mix(self.seed ^ protocol::mix(peer.get()))
    }

    fn chance(&self, id: PartitionId, draws: u64) -> u64 {
        protocol::mix(self.seed ^ protocol::mix(id.get()).wrapping_add(draws))
    }
}

/// Turns, until the host is shut down.
pub(crate) async fn run(shared: Arc<Shared>) {
    let driver = &shared.driver;
    loop {
        let next = driver.agenda.lock().next();
        let due = async {
            match next {
                Some(slot) => {
                    let at = driver.at(slot);
                    tokio::time::sleep_until(at).await;
                    driver.runs(at);
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = driver.changed.notified() => continue,
            () = due => {}
        }
        turn(&shared).await;
    }
}

/// Everything that is due in the slot that runs.
async fn turn(shared: &Arc<Shared>) {
    loop {
        let due = shared.driver.agenda.lock().take(shared.driver.now(), TURN_MAX);
        let is_last = due.len() < TURN_MAX;
        let groups = due.into_iter().filter_map(|id| shared.group(id));
        let tired: Vec<Candidate> = groups.filter_map(|group| group.timer_is_due()).collect();
        if !tired.is_empty() {
            shared.tasks.spawn(sleep::propose(Arc::clone(shared), tired));
        }
        if is_last {
            return;
        }
        tokio::task::yield_now().await;
    }
}

impl Group {
    /// Sets the timer anew: something happened to the role, the vote, or the
    /// members.
    pub(crate) fn attend(&self) {
        let driver = &self.shared.driver;
        if self.is_unloaded() {
            return;
        }
        if self.view().is_some_and(|view| view.leads()) {
            driver.set_beat(self.id);
            return;
        }
        driver.set_after(self.id, self.draw());
    }

    /// The timer begins now, with another time.
    fn draw(&self) -> Duration {
        let mut timer = self.timer.lock();
        timer.draws += 1;
        timer.base = Instant::now();
        timer.held = false;
        let chance = self.shared.driver.chance(self.id, timer.draws);
        timer.timeout = protocol::draw_timeout(self.shared.config.election_timeout, chance);
        timer.timeout
    }

    /// Lets the election timer run, if it may: one that ran out meanwhile is
    /// due within a heartbeat interval.
    pub(crate) fn enable_elections(&self) {
        if !protocol::timer_may_run(self.fence.state(), self.shared.leads.is_serving()) {
            return;
        }
        let draws = {
            let mut timer = self.timer.lock();
            if !std::mem::take(&mut timer.held) {
                return;
            }
            timer.draws += 1;
            timer.draws
        };
        let chance = self.shared.driver.chance(self.id, draws);
        let soon = (Duration::ZERO, self.shared.config.heartbeat_interval);
        self.shared.driver.set_after(self.id, protocol::draw_timeout(soon, chance));
    }

    fn timed(&self) -> Option<Timed> {
        let view = self.view()?;
        let heard_at = self.contact.live(view.term, Duration::MAX).map(|heard| heard.at);
        let (base, timeout) = {
            let timer = self.timer.lock();
            (heard_at.map_or(timer.base, |at| at.max(timer.base)), timer.timeout)
        };
        let (votes, alone) = self.part()?;
        let base = base.max(self.shared.driver.resumed_at());
        Some(Timed {
            leads: view.leads(),
            votes,
            alone,
            asleep: self.is_asleep(),
            fence: self.fence.state(),
            serving: self.shared.leads.is_serving(),
            silent_for: base.elapsed(),
            timeout,
            leader_lives: self.leader_lives(),
        })
    }

    /// Whether this replica has a vote, by the last members it knows of or by
    /// those that are committed, and whether it is the only one.
    fn part(&self) -> Option<(bool, bool)> {
        let me = self.shared.config.node_id.get();
        let server = self.running()?.raft.server_metrics();
        let server = server.borrow_watched();
        let effective = server.membership_config.membership();
        let committed = server.committed_membership_config.membership();
        let votes = effective.voter_ids().chain(committed.voter_ids()).any(|id| id == me);
        Some((votes, effective.nodes().count() <= 1))
    }

    /// Whether the node of the last leader says that it lives. It may only have
    /// missed that this replica is awake.
    fn leader_lives(&self) -> bool {
        let leader = self.contact.last().filter(|heard| !heard.is_gone).map(|heard| heard.leader);
        let lease = self.shared.config.election_timeout.0;
        leader.is_some_and(|leader| self.shared.sleepers.heard_within(leader, lease))
    }

    /// Does what is due. Returns a group that is to sleep.
    fn timer_is_due(self: &Arc<Self>) -> Option<Candidate> {
        let (body, timed) = (self.running()?, self.timed()?);
        let driver = &self.shared.driver;
        match timed.due() {
            Due::Rest => {}
            Due::Beat => {
                driver.set_beat(self.id);
                // A heartbeat would wake those that have agreed to sleep.
                if self.is_falling() {
                    return None;
                }
                if let Some(tired) = self.fall_asleep() {
                    return Some(tired);
                }
                // One that takes no message now is busy with appends, or stuck:
                // either way the others do not wait for it.
                let _ = body.raft.trigger().heartbeat().now_or_never();
            }
            Due::Later(wait) => driver.set_after(self.id, wait),
            Due::Held => self.timer.lock().held = true,
            due @ (Due::Ask | Due::Elect) => {
                driver.set_after(self.id, self.draw());
                let group = Arc::clone(self);
                let asks = due == Due::Ask;
                self.shared.tasks.spawn(async move { group.campaign_by_timer(asks).await });
            }
        }
        None
    }

    /// Whether the last leader still leads, by its own word and that of a quorum.
    /// It wakes where it sleeps.
    async fn leader_answers(&self) -> bool {
        let Some(heard) = self.contact.last() else { return false };
        let wait = self.shared.config.heartbeat_interval;
        self.ask_read_index(heard.leader, wait).await.is_ok()
    }

    async fn campaign_by_timer(&self, asks: bool) {
        let Some(body) = self.running() else { return };
        if asks && self.leader_answers().await {
            return;
        }
        tracing::debug!(partition_id = %self.id, "the election timer ran out");
        // It may have begun to drain since.
        let may_run = || {
            let serving = self.shared.leads.is_serving();
            self.leader().is_none() && protocol::timer_may_run(self.fence.state(), serving)
        };
        self.elect_in_turn(&body, may_run).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_millis(500);
    const ELECTION: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));

    fn id(id: u64) -> PartitionId {
        PartitionId::new(id).unwrap()
    }

    /// One interval after another, each of `groups` beats once in each, or in
    /// each second one, in its own slot, and the slots have about the same number of them.
    async fn beats_are_spread(groups: u64, shortest: Duration, intervals: u64) {
        let driver = Driver::new(HEARTBEAT, (shortest, ELECTION.1), 7);
        (1..=groups).for_each(|group| driver.set_beat(id(group)));
        (1..=groups).for_each(|group| driver.set_beat(id(group)));
        let (slots, mut beats, mut most) = (10 * intervals, 0, 0);
        let end = driver.began + 4 * HEARTBEAT;
        loop {
            let next = driver.agenda.lock().next().expect("there is always a next beat");
            tokio::time::sleep_until(driver.at(next)).await;
            if Instant::now() > end {
                break;
            }
            let due = driver.agenda.lock().take(driver.now(), usize::MAX);
            let is_own = |id: &PartitionId| protocol::mix(id.get()) % slots == next % slots;
            assert!(due.iter().all(is_own), "own slot");
            most = most.max(due.len());
            beats += due.len();
            due.into_iter().for_each(|id| driver.set_beat(id));
        }
        assert_eq!(beats as u64, 4 * groups / intervals);
        assert!(most as u64 * slots < 2 * groups, "{most} groups in one slot");
    }

    #[tokio::test(start_paused = true)]
    async fn each_group_has_a_beat_an_interval_and_of_many_one_in_two() {
        beats_are_spread(700, ELECTION.0, 1).await;
        beats_are_spread(1000, ELECTION.0, 2).await;
        // A follower waits for one for no longer than three intervals.
        beats_are_spread(1000, HEARTBEAT * 3, 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_noticed_and_a_late_slot_is_none() {
        let driver = Driver::new(HEARTBEAT, ELECTION, 7);
        tokio::time::sleep(HEARTBEAT * 20).await;
        driver.runs(Instant::now() - ELECTION.0 / 3);
        assert_eq!(driver.resumed_at(), driver.began);
        driver.runs(Instant::now() - ELECTION.0);
        let resumed_at = Instant::now();
        assert_eq!(driver.resumed_at(), resumed_at);
        tokio::time::sleep(ELECTION.1).await;
        driver.runs(Instant::now() - ELECTION.0);
        assert_eq!(driver.resumed_at(), resumed_at, "it is always late");
        tokio::time::sleep(ELECTION.1 * 2).await;
        driver.runs(Instant::now() - ELECTION.0);
        assert_eq!(driver.resumed_at(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_after_a_time_is_not_due_before() {
        let driver = Driver::new(HEARTBEAT, ELECTION, 7);
        tokio::time::sleep(Duration::from_millis(17)).await;
        for ms in [0, 1, 49, 50, 51, 1999] {
            let wait = Duration::from_millis(ms);
            let (set_at, group) = (Instant::now(), id(ms + 1));
            driver.set_after(group, wait);
            let next = driver.agenda.lock().next().unwrap();
            let late = driver.at(next).duration_since(set_at + wait);
            assert!(late <= driver.slot, "{wait:?}: {late:?} late");
            driver.forget(group);
        }
    }
}
