//! What a node knows of its peers for the sake of balance: who serves, since
//! when, and who is to have leaderships back. Pure bookkeeping: no task, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use partition_types::{NodeId, PartitionId};
use tokio::time::Instant;

use crate::balance::Due;

/// A node that came back is given leaderships after this time. One that goes again
/// soon after it came back must prove itself for longer each time.
const PROVE_MIN: Duration = Duration::from_secs(1);
const PROVE_MAX: Duration = Duration::from_secs(64);
/// A node that served for so long before it went has proven itself; one that said
/// so before it went needs less.
const PROVEN: Duration = Duration::from_secs(60);
const PROVEN_PLANNED: Duration = Duration::from_secs(10);
/// What a node was not ready to take is tried again after this time, which
/// doubles; later still when it did not take what it was told to.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_FAILED_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How a peer is, by its own word and the connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Its client port is open and it takes leaderships.
    Serving,
    /// It gives its leaderships away.
    Draining,
    /// It is connected, and its client port is not open yet.
    Starting,
    /// It is not reached.
    Away,
}

/// What a round of hand-backs did, in groups.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RoundEnd {
    pub(crate) taken: usize,
    /// Not possible yet.
    pub(crate) put_off: usize,
    /// Told, and not taken.
    pub(crate) failed: usize,
}

/// The peers of a node.
#[derive(Default)]
pub(crate) struct Peers(BTreeMap<NodeId, Peer>);

struct Peer {
    state: PeerState,
    /// It said that it drains, and has not started anew or changed its mind since.
    has_left: bool,
    /// When it began to serve.
    since: Instant,
    /// How long it must serve before it is trusted.
    prove: Duration,
    due: Option<Due>,
    not_before: Instant,
    retry: Duration,
}

impl Peers {
    /// Takes in how all peers are now. Whether it is worth a look.
    pub(crate) fn hear(&mut self, now: Instant, states: BTreeMap<NodeId, PeerState>) -> bool {
        let mut news = false;
        for (id, peer) in &mut self.0 {
            if !states.contains_key(id) {
                news |= peer.hear(now, PeerState::Away);
            }
        }
        for (id, state) in states {
            match self.0.get_mut(&id) {
                Some(peer) => news |= peer.hear(now, state),
                // One that is met while it serves was not away: a sweep is enough.
                None => drop(self.0.insert(id, Peer::new(now, state))),
            }
        }
        news
    }

    pub(crate) fn is_serving(&self, id: NodeId) -> bool {
        self.state_of(id) == Some(PeerState::Serving)
    }

    pub(crate) fn state_of(&self, id: NodeId) -> Option<PeerState> {
        self.0.get(&id).map(|peer| peer.state)
    }

    /// Whether it said itself that it leads nothing from now on; it may be gone since.
    pub(crate) fn has_left(&self, id: NodeId) -> bool {
        self.0.get(&id).is_some_and(|peer| peer.has_left)
    }

    pub(crate) fn is_anybody_draining(&self) -> bool {
        self.0.values().any(|peer| peer.state == PeerState::Draining)
    }

    /// Makes these groups due for a peer that serves.
    pub(crate) fn make_due(&mut self, now: Instant, id: NodeId, groups: BTreeSet<PartitionId>) {
        let Some(peer) = self.0.get_mut(&id) else { return };
        if peer.state == PeerState::Serving && peer.due.is_none() {
            peer.due = Some(Due::These(groups));
            peer.not_before = now.max(peer.since + peer.prove);
        }
    }

    /// When the next peer is to have something back.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.waiting().map(|(_, peer)| peer.not_before).min()
    }

    /// Who is to have what back now.
    pub(crate) fn due(&self, now: Instant) -> BTreeMap<NodeId, Due> {
        let due = self.waiting().filter(|(_, peer)| peer.not_before <= now);
        due.filter_map(|(id, peer)| Some((*id, peer.due.clone()?))).collect()
    }

    /// A round of hand-backs to a peer ended: it took so many groups, and of those
    /// that are left it failed to take so many.
    pub(crate) fn round_ended(&mut self, now: Instant, id: NodeId, round: RoundEnd) {
        let Some(peer) = self.0.get_mut(&id) else { return };
        // It may have gone and come back meanwhile, and waits for its turn.
        if peer.not_before > now {
            return;
        }
        if round.failed + round.put_off == 0 {
            peer.due = None;
            return;
        }
        if round.taken > 0 {
            peer.retry = RETRY_MIN;
        }
        let wait = if round.failed > 0 { peer.retry.max(RETRY_FAILED_MIN) } else { peer.retry };
        peer.not_before = now + wait;
        peer.retry = (wait * 2).min(RETRY_MAX);
    }

    fn waiting(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.0.iter().filter(|(_, peer)| peer.state == PeerState::Serving && peer.due.is_some())
    }
}

impl Peer {
    fn new(now: Instant, state: PeerState) -> Self {
        Self {
            state,
            has_left: state == PeerState::Draining,
            since: now,
            prove: PROVE_MIN,
            due: None,
            not_before: now,
            retry: RETRY_MIN,
        }
    }

    /// Whether it is worth a look.
    fn hear(&mut self, now: Instant, state: PeerState) -> bool {
        let before = std::mem::replace(&mut self.state, state);
        self.has_left = match state {
            PeerState::Draining => true,
            PeerState::Away => self.has_left,
            PeerState::Serving | PeerState::Starting => false,
        };
        match (before, state) {
            (PeerState::Serving, PeerState::Serving) => false,
            (_, PeerState::Serving) => {
                self.since = now;
                self.due = Some(Due::All);
                self.not_before = now + self.prove;
                self.retry = RETRY_MIN;
                true
            }
            (PeerState::Serving, _) => {
                let is_planned = state == PeerState::Draining;
                let proven = if is_planned { PROVEN_PLANNED } else { PROVEN };
                let steady = now.duration_since(self.since) >= proven;
                self.prove = if steady { PROVE_MIN } else { (self.prove * 2).min(PROVE_MAX) };
                false
            }
            // What was held back while it drained goes on.
            (PeerState::Draining, PeerState::Starting | PeerState::Away) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use PeerState::{Away, Draining, Serving};

    use super::*;

    fn node() -> NodeId {
        NodeId::new(2).expect("above 0")
    }

    /// Hears these states, each so many seconds after the one before; when the
    /// peer is then due, in seconds after the last.
    fn check(heard: &[(u64, PeerState)], due_in_ms: Option<u64>) {
        let mut peers = Peers::default();
        let mut now = Instant::now();
        for (after_s, state) in heard {
            now += Duration::from_secs(*after_s);
            peers.hear(now, BTreeMap::from([(node(), *state)]));
        }
        let due_in = peers.due_at().map(|at| at.duration_since(now));
        assert_eq!(due_in, due_in_ms.map(Duration::from_millis), "{heard:?}");
    }

    #[test]
    fn who_comes_back_is_due_and_who_goes_soon_must_wait_longer() {
        check(&[(0, Serving)], None);
        check(&[(0, Serving), (5, Serving)], None);
        check(&[(0, Away), (5, Serving)], Some(1000));
        check(&[(0, Serving), (5, Draining)], None);
        check(&[(0, Serving), (12, Draining), (5, Serving)], Some(1000));
        check(&[(0, Serving), (12, Draining), (1, Away), (5, Serving)], Some(1000));
        check(&[(0, Serving), (5, Draining), (1, Away), (5, Serving)], Some(2000));
        check(&[(0, Serving), (5, Away), (5, Serving)], Some(2000));
        check(&[(0, Serving), (90, Away), (5, Serving)], Some(1000));
        let crash_loop = [(2, Away), (2, Serving)].repeat(9);
        check(&[&[(0, Serving)], &crash_loop[..]].concat(), Some(64_000));
        let recovered = [(90, Away), (2, Serving)];
        check(&[&[(0, Serving)], &crash_loop[..], &recovered].concat(), Some(1000));
    }

    #[test]
    fn who_drained_has_left_until_it_is_back() {
        let mut peers = Peers::default();
        for (state, has_left) in [
            (Serving, false),
            (Away, false),
            (Draining, true),
            (Away, true),
            (PeerState::Starting, false),
            (Draining, true),
            (Serving, false),
        ] {
            peers.hear(Instant::now(), BTreeMap::from([(node(), state)]));
            assert_eq!(peers.has_left(node()), has_left, "{state:?}");
        }
    }

    #[test]
    fn who_is_not_named_is_away() {
        let mut peers = Peers::default();
        let now = Instant::now();
        peers.hear(now, BTreeMap::from([(node(), Draining)]));
        assert!(peers.is_anybody_draining() && !peers.is_serving(node()));
        assert!(peers.hear(now, BTreeMap::new()), "nobody drains any more");
        assert!(!peers.is_anybody_draining());
    }

    #[test]
    fn what_is_left_is_tried_again_later_and_later() {
        let mut peers = Peers::default();
        let mut now = Instant::now();
        peers.hear(now, BTreeMap::from([(node(), Away)]));
        peers.hear(now, BTreeMap::from([(node(), Serving)]));
        assert!(peers.due(now).is_empty(), "it must prove itself");
        let round = |taken, failed| RoundEnd { taken, put_off: 1, failed };
        for (round, wait_s) in [
            (round(0, 0), 1),
            (round(0, 0), 2),
            (round(0, 1), 5),
            (round(0, 0), 10),
            (round(0, 1), 20),
            (round(3, 1), 5),
            (round(3, 0), 1),
        ] {
            now = peers.due_at().expect("something is due");
            assert_eq!(peers.due(now), BTreeMap::from([(node(), Due::All)]));
            peers.round_ended(now, node(), round);
            let wait = peers.due_at().expect("something is left").duration_since(now);
            assert_eq!(wait, Duration::from_secs(wait_s));
        }
        now = peers.due_at().expect("something is due");
        peers.round_ended(now, node(), RoundEnd { taken: 1, ..RoundEnd::default() });
        assert_eq!(peers.due_at(), None);
    }

    #[test]
    fn a_sweep_adds_to_nobody_who_is_away_or_waits_already() {
        let groups = || BTreeSet::from([PartitionId::new(7).expect("above 0")]);
        for (state, expected) in [(Away, None), (Draining, None), (Serving, Some(Due::All))] {
            let mut peers = Peers::default();
            let now = Instant::now();
            peers.hear(now, BTreeMap::from([(node(), Away)]));
            peers.hear(now, BTreeMap::from([(node(), state)]));
            peers.make_due(now, node(), groups());
            let due = peers.due(now + PROVE_MIN).remove(&node());
            assert_eq!(due, expected, "{state:?}");
        }
        let mut peers = Peers::default();
        let now = Instant::now();
        peers.hear(now, BTreeMap::from([(node(), Serving)]));
        peers.make_due(now + PROVE_MIN, node(), groups());
        let due = peers.due(now + PROVE_MIN).remove(&node());
        assert_eq!(due, Some(Due::These(groups())));
    }
}
