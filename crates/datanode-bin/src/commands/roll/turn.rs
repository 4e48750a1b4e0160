//! One node's turn: from the stop token to its leaderships being back.

use std::time::{Duration, Instant};

use datanode_client::proto::{GetStatusResponse, Node, SafeToStopResponse, StopHold};
use datanode_client::{AdminClient, Bytes, ErrorKind, NodeId};
use tokio::time::{sleep, timeout};

use super::show::Show;
use super::{Row, order};
use crate::commands::words;

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// A node that goes down or comes up is asked with this much patience.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Leaderships that have not moved for so long are where they stay. The first one
/// takes longer to come: the node must prove itself, longer if it was restarted
/// just before.
const STEADY: Duration = Duration::from_secs(5);
const FIRST_WITHIN: Duration = Duration::from_secs(20);
/// A token outlasts all steps of a turn, and not by much: it must end should this
/// process die.
const TTL_STEPS: u32 = 4;
const TTL_MAX: Duration = Duration::from_secs(60 * 60);

/// How far a turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Pending,
    /// Until every group can spare the node.
    Wait,
    Drain,
    Restart,
    HandBack,
    Done,
}

impl Step {
    const ALL: [Self; 6] =
        [Self::Pending, Self::Wait, Self::Drain, Self::Restart, Self::HandBack, Self::Done];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Wait => "wait",
            Self::Drain => "drain",
            Self::Restart => "restart",
            Self::HandBack => "hand back",
            Self::Done => "done",
        }
    }

    pub(super) fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|step| step.name() == name);
        found.expect("a row's state is the name of a step")
    }
}

/// A node's turn.
pub(super) struct Turn<'a> {
    pub(super) node: &'a Node,
    pub(super) exec: &'a str,
    pub(super) timeout: Duration,
    /// Asks this node only.
    pub(super) itself: AdminClient,
    /// Asks whoever is there.
    pub(super) anybody: AdminClient,
    pub(super) row: &'a mut Row,
    pub(super) show: &'a Show,
    /// Which row it is.
    pub(super) at: usize,
    /// Made before it is asked for, so that asking again is no second one.
    pub(super) token: Bytes,
}

impl Turn<'_> {
    /// Takes the turn. Why it ended early, if it did.
    ///
    /// # Cancel safety
    /// Dropped half-way the node stays as it is, and its token ends by itself.
    pub(super) async fn take(&mut self) -> Result<(), String> {
        let before = self.itself.status().await.map_err(|error| error.to_string())?;
        self.row.led_before = Some(before.leaders);
        let began = self.begin(Step::Wait);
        self.wait_for_token().await?;
        self.row.wait_ms = Some(ms(began));
        let began = self.begin(Step::Drain);
        self.drain().await?;
        self.row.drain_ms = Some(ms(began));
        let began = self.begin(Step::Restart);
        let restarted = timeout(self.timeout, order::run(self.exec, self.node)).await;
        restarted.map_err(|_| format!("the command did not end within {:?}", self.timeout))??;
        self.wait_for_return(&before).await?;
        self.row.restart_ms = Some(ms(began));
        let began = self.begin(Step::HandBack);
        self.row.led_after = Some(self.wait_for_leaders(before.leaders).await?);
        self.row.hand_back_ms = Some(ms(began));
        self.begin(Step::Done);
        Ok(())
    }

    /// After the turn, however it ended: nobody should wait until the token ends.
    pub(super) async fn give_token_back(&self) {
        if let Err(error) = self.anybody.release_stop(self.node_id(), self.token.clone()).await {
            eprintln!("node {}: its stop token is not given back: {error}", self.node.node_id);
        }
    }

    fn begin(&mut self, step: Step) -> Instant {
        self.row.state = step.name();
        self.show.step(self.at, self.row);
        Instant::now()
    }

    fn node_id(&self) -> NodeId {
        NodeId::new(self.node.node_id).expect("a node that is known has an id")
    }

    async fn wait_for_token(&self) -> Result<(), String> {
        let ttl = (self.timeout * TTL_STEPS).min(TTL_MAX);
        let hold = StopHold {
            holder: holder(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            token: self.token.clone(),
            release: false,
        };
        let give_up = Instant::now() + self.timeout;
        loop {
            let why = match self.anybody.hold_stop(Some(self.node_id()), hold.clone()).await {
                Ok(answer) if answer.safe => return Ok(()),
                Ok(answer) => reason(&answer),
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error.to_string()),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= give_up {
                return Err(format!("the cluster cannot spare it: {why}"));
            }
            self.show.note(self.at, &why);
            sleep(ASK_EVERY).await;
        }
    }

    async fn drain(&self) -> Result<(), String> {
        let give_up = Instant::now() + self.timeout;
        loop {
            // `shutdown.notice` is part of it, so this may take a while.
            let left = give_up.saturating_duration_since(Instant::now());
            let why = match timeout(left, self.patient().drain(false)).await {
                Ok(Ok(drained)) if drained.leaders_after == 0 => return Ok(()),
                Ok(Ok(drained)) => format!("it still leads {} partitions", drained.leaders_after),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            if Instant::now() >= give_up {
                return Err(format!("it is not drained: {why}"));
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// A client of the node that waits as long as a step may take.
    fn patient(&self) -> AdminClient {
        let config = datanode_client::ClientConfig {
            timeout: self.timeout,
            ..datanode_client::ClientConfig::default()
        };
        let client = AdminClient::new([self.node.admin_address.as_str()], config);
        client.unwrap_or_else(|_| self.itself.clone())
    }

    /// Waits until another process answers for the node, and is ready.
    async fn wait_for_return(&self, before: &GetStatusResponse) -> Result<(), String> {
        let give_up = Instant::now() + self.timeout;
        loop {
            let why = match timeout(ANSWER_WITHIN, self.itself.status()).await {
                Ok(Ok(now)) if now.started_at == before.started_at => {
                    "it is the process of before: the command did not restart it".to_owned()
                }
                Ok(Ok(now)) if now.ready => return Ok(()),
                Ok(Ok(now)) => {
                    let stage = now.node.map_or("unknown", |node| words::stage(node.stage));
                    let (ready, total) = (now.partitions_ready, now.partitions_total);
                    format!("it is in {stage}, {ready} of {total} partitions are ready")
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            if Instant::now() >= give_up {
                return Err(format!("it did not come back: {why}"));
            }
            self.show.note(self.at, &why);
            sleep(ASK_EVERY).await;
        }
    }

    /// Waits until the node leads what it led, or nothing moves any more: it may
    /// have led more than its own. How much it leads then.
    async fn wait_for_leaders(&self, wanted: u64) -> Result<u64, String> {
        let give_up = Instant::now() + self.timeout;
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let now = match timeout(ANSWER_WITHIN, self.itself.status()).await {
                Ok(Ok(now)) if now.ready => now.leaders,
                _ if Instant::now() >= give_up => return Err("it is not ready any more".to_owned()),
                _ => {
                    sleep(ASK_EVERY).await;
                    continue;
                }
            };
            if last != Some(now) {
                (last, since) = (Some(now), Instant::now());
                self.show.note(self.at, &format!("leads {now} of {wanted}"));
            }
            let patience = if now == 0 { FIRST_WITHIN } else { STEADY };
            if now >= wanted || since.elapsed() >= patience || Instant::now() >= give_up {
                return Ok(now);
            }
            sleep(ASK_EVERY).await;
        }
    }
}

/// Why a node may not stop, in one line.
fn reason(answer: &SafeToStopResponse) -> String {
    if let Some(held) = &answer.held {
        let until = match held.expires_in_ms {
            0 => String::new(),
            ms => format!(", for {} s more at most", ms.div_ceil(1000)),
        };
        return format!("node {} is about to stop: {}{until}", held.node_id, held.holder);
    }
    match answer.blockers.as_slice() {
        [] => "no reason is given".to_owned(),
        [one] => format!("partition {}: {}", one.partition_id, one.reason),
        [first, more @ ..] => {
            format!("partition {}: {} (and {} more)", first.partition_id, first.reason, more.len())
        }
    }
}

/// Who rolls, for others who have to wait.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "somewhere",
        host => host,
    };
    format!("datanode roll on {host}, process {}", std::process::id())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
