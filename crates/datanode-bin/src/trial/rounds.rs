//! The rounds: every node in turn is ended and started again while the load
//! runs, each only when the cluster can spare it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::figures::Span;
use super::record::{Recorder, micros};
use super::scrape::{Scrape, scrape};
use super::snapshot::Installs;
use crate::Failure;
use crate::cluster::{Cluster, READY_TIMEOUT, STOP_TIMEOUT, Signal};
use crate::demo::bar;

/// How long the cluster may take until it can spare the next node.
const SPARE_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a node that goes down is asked what it still leads; also the error
/// of that time.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked at whether leaders are back.
const RETURN_LOOK_EVERY: Duration = Duration::from_millis(250);
/// A restart's phase is measured in whole seconds, and lasts so long after the
/// port has opened at least: clients that were slow to notice are in it.
const SETTLE: Duration = Duration::from_secs(1);
/// What the restarted nodes are slowed down with.
const LOAD_DELAY: &str = "DATANODE_TEST_LOAD_DELAY_MS";

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) rounds: u64,
    pub(super) signal: Signal,
    /// Each load of a partition takes so much longer, in milliseconds.
    pub(super) load_delay_ms: Option<u64>,
    /// How long leaders may take to come back before the next node's turn.
    pub(super) return_timeout: Duration,
    /// The part of what a node led at first that makes them count as back.
    pub(super) returned_ratio: f64,
}

/// One restart, as it was seen from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restarted {
    pub(super) round: u64,
    pub(super) node: u64,
    pub(super) signal: Signal,
    /// Partitions that it led when the signal came.
    pub(super) led: u64,
    /// From the signal until it led nothing. `None` after a kill, or when it
    /// led something to the end.
    pub(super) drain: Option<Duration>,
    /// From the signal to the end of the process.
    pub(super) down: Duration,
    /// From exec to the first connection that the client port took.
    pub(super) ready: Duration,
    /// From then until it led again what it led at first. `None`: not in time.
    pub(super) returned: Option<Duration>,
    /// From the signal until leaders were back, or until they were given up.
    pub(super) phase: Span,
    /// When the client port was open again.
    pub(super) listening_us: u64,
}

impl Restarted {
    /// From the signal until the port was open again.
    pub(super) const fn away(&self) -> Span {
        Span { start_us: self.phase.start_us, end_us: self.listening_us }
    }
}

/// What all lives of all nodes told of leading behind a closed port.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unserved {
    pub(super) self_led_prelisten: u64,
    pub(super) leader_unserved_seconds: f64,
}

impl Unserved {
    /// A process is over, or the trial: its counters have said all.
    pub(super) fn add(&mut self, last: Scrape) {
        self.self_led_prelisten += last.self_led_prelisten;
        self.leader_unserved_seconds += last.leader_unserved_seconds;
    }
}

/// What came of the rounds.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) restarts: Vec<Restarted>,
    pub(super) unserved: Unserved,
}

/// Runs them.
///
/// # Errors
/// [`Failure`] when a node cannot be spared, does not go down, does not come
/// back, or does not tell its metrics.
pub(super) async fn run(
    cluster: &mut Cluster,
    plan: Plan,
    recorder: &Recorder,
    mut installs: Option<&mut Installs>,
) -> Result<Rounds, Failure> {
    let ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id()).collect();
    if let Some(ms) = plan.load_delay_ms {
        for id in &ids {
            cluster.node_mut(*id).set_environment(&[(LOAD_DELAY, &ms.to_string())]);
        }
    }
    let at_first: BTreeMap<u64, u64> = leaders(cluster).await?.into_iter().collect();
    let mut rounds = Rounds::default();
    for round in 1..=plan.rounds {
        for id in &ids {
            let led = at_first.get(id).copied().unwrap_or_default();
            let mut restart = Restart { cluster, plan, recorder, id: *id, round };
            let restarted = restart.run(led, &mut rounds.unserved, installs.as_deref_mut()).await?;
            rounds.restarts.push(restarted);
        }
    }
    Ok(rounds)
}

/// How many partitions each node leads.
pub(super) async fn leaders(cluster: &Cluster) -> Result<Vec<(u64, u64)>, Failure> {
    Ok(cluster.leaders().await.map_err(anyhow::Error::from)?)
}

struct Restart<'a> {
    cluster: &'a mut Cluster,
    plan: Plan,
    recorder: &'a Recorder,
    id: u64,
    round: u64,
}

impl Restart<'_> {
    async fn run(
        &mut self,
        led_at_first: u64,
        unserved: &mut Unserved,
        mut installs: Option<&mut Installs>,
    ) -> Result<Restarted, Failure> {
        let (id, round, signal) = (self.id, self.round, self.plan.signal);
        let note = bar::note(format!("round {round}: node {id} ({})", signal.name()));
        self.cluster.wait_safe_to_stop(id, SPARE_TIMEOUT).await.map_err(anyhow::Error::from)?;
        let admin = self.cluster.node(id).ports().admin;
        let before = scrape(admin).await?;
        let start_us = self.recorder.now_us();
        let (down, watch) = self.end(admin, before).await?;
        unserved.add(watch.last);
        if let Some(installs) = installs.as_deref_mut() {
            installs.leave_behind(self.cluster, id).await?;
        }
        let ready = self.start().await?;
        let (opened, listening_us) = (Instant::now(), self.recorder.now_us());
        if let Some(installs) = installs {
            installs.count(self.cluster, id).await?;
        }
        let returned = self.returned(opened, led_at_first).await?;
        let phase = self.phase(start_us, opened).await;
        note.finish();
        Ok(Restarted {
            round,
            node: id,
            signal,
            led: before.leaders,
            drain: watch.drained,
            down,
            ready,
            returned,
            phase,
            listening_us,
        })
    }

    /// Ends the node, and watches it go.
    async fn end(&mut self, admin: SocketAddr, last: Scrape) -> Result<(Duration, Watch), Failure> {
        let mut watch = Watch { since: Instant::now(), drained: None, last };
        let node = self.cluster.node_mut(self.id);
        let stopped = match self.plan.signal {
            Signal::Kill => node.kill(),
            Signal::Term => tokio::select! {
                stopped = node.terminate(STOP_TIMEOUT) => stopped,
                never = watch.follow(admin) => match never {},
            },
        };
        Ok((stopped.map_err(anyhow::Error::from)?.after, watch))
    }

    async fn start(&mut self) -> Result<Duration, Failure> {
        let node = self.cluster.node_mut(self.id);
        node.spawn().map_err(anyhow::Error::from)?;
        Ok(node.wait_listening(READY_TIMEOUT).await.map_err(anyhow::Error::from)?)
    }

    /// Waits until the node leads again what it led at first. Gives the time
    /// since its port opened; `None`: it does not, in the time that it has.
    async fn returned(
        &self,
        opened: Instant,
        led_at_first: u64,
    ) -> Result<Option<Duration>, Failure> {
        // Leaders are a count: a part of it is not exact anyway.
        let wanted = led_at_first as f64 * self.plan.returned_ratio;
        loop {
            let led = leaders(self.cluster).await?;
            let led = led.into_iter().find(|(node, _)| *node == self.id).map_or(0, |(_, led)| led);
            if led as f64 >= wanted {
                return Ok(Some(opened.elapsed()));
            }
            if opened.elapsed() >= self.plan.return_timeout {
                return Ok(None);
            }
            tokio::time::sleep(RETURN_LOOK_EVERY).await;
        }
    }

    /// Ends the phase that began at `start_us`: a while after the port opened,
    /// at a whole second.
    async fn phase(&self, start_us: u64, opened: Instant) -> Span {
        tokio::time::sleep(SETTLE.saturating_sub(opened.elapsed())).await;
        let so_far_us = self.recorder.now_us() - start_us;
        let len_us = so_far_us.next_multiple_of(micros(Duration::from_secs(1)));
        tokio::time::sleep(Duration::from_micros(len_us - so_far_us)).await;
        Span { start_us, end_us: start_us + len_us }
    }
}

/// A look at a node that goes down.
struct Watch {
    since: Instant,
    drained: Option<Duration>,
    /// Its last word.
    last: Scrape,
}

impl Watch {
    async fn follow(&mut self, admin: SocketAddr) -> Infallible {
        loop {
            // It goes down: that it does not answer any more is no fault.
            if let Ok(scrape) = scrape(admin).await {
                self.last = scrape;
                if scrape.leaders == 0 && self.drained.is_none() {
                    self.drained = Some(self.since.elapsed());
                }
            }
            tokio::time::sleep(DRAIN_LOOK_EVERY).await;
        }
    }
}
