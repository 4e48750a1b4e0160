//! What sleeps on this node, by the node on the other side. Pure bookkeeping: no
//! task, and the time is told.
//!
//! A leader and a follower each add up the groups that sleep between them, and
//! compare the sums with every beat: when one of them forgot or missed something
//! (a restart, a deposed leader, a lost message), the sums differ. The leader then
//! offers all that it has again, and wakes what the follower refuses; the follower
//! wakes what it is not offered.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use partition_types::{Member, NodeId, PartitionId};
use tokio::time::Instant;

use crate::protocol::mix;

/// Beats in a row with other sums until something is done: a group that falls
/// asleep or wakes is for a moment known to one of them only.
const DIFFER_MAX: u32 = 3;

/// What sleeps on a node.
#[derive(Default)]
pub(crate) struct Book {
    /// Groups led from here, and who follows.
    led: HashMap<PartitionId, Led>,
    /// Groups led from elsewhere, and from where.
    followed: HashMap<PartitionId, NodeId>,
    peers: BTreeMap<NodeId, Peer>,
}

struct Led {
    followers: Vec<NodeId>,
    mark: u64,
}

#[derive(Default)]
struct Peer {
    /// Where it is reached, and in which life.
    member: Option<Member>,
    led: Sum,
    /// What is led with it is to be offered to it again.
    is_offer_due: bool,
    followed: BTreeMap<PartitionId, Followed>,
    followed_sum: Sum,
    /// Times at which the sums had differed for too long.
    round: u64,
    /// Such a time, when the sums have not been the same since.
    doubt: Option<u64>,
    /// The life of its process that spoke last, and when.
    heard: Option<(u64, Instant)>,
}

struct Followed {
    mark: u64,
    /// Its leader's round in which it was offered last.
    round: u64,
}

/// What one node is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) to: NodeId,
    pub(crate) member: Member,
    /// What sleeps there by this side.
    pub(crate) digest: Digest,
    /// All of it is to be offered again, in place of the beat.
    pub(crate) is_offer: bool,
}

/// A set of groups in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    /// How many.
    pub(crate) count: u64,
    /// Of their marks.
    pub(crate) sum: u64,
}

#[derive(Default)]
struct Sum {
    digest: Digest,
    /// Beats in a row in which the other side had another one.
    differed: u32,
}

impl Sum {
    fn add(&mut self, mark: u64) {
        self.digest.count += 1;
        self.digest.sum = self.digest.sum.wrapping_add(mark);
    }

    fn take(&mut self, mark: u64) {
        self.digest.count -= 1;
        self.digest.sum = self.digest.sum.wrapping_sub(mark);
    }

    /// Whether it has differed for too long.
    fn compare(&mut self, same: bool) -> bool {
        self.differed = if same { 0 } else { self.differed + 1 };
        let too_long = self.differed >= DIFFER_MAX;
        if too_long {
            self.differed = 0;
        }
        too_long
    }
}

/// What a group adds to a sum.
fn mark(id: PartitionId, term: u64) -> u64 {
    mix(id.get() ^ mix(term))
}

impl Book {
    /// How many replicas sleep here.
    pub(crate) fn len(&self) -> usize {
        self.led.len() + self.followed.len()
    }

    /// A group led from here sleeps, with these followers.
    pub(crate) fn lead(&mut self, id: PartitionId, term: u64, followers: Vec<(NodeId, Member)>) {
        self.remove(id);
        let mark = mark(id, term);
        let mut ids = Vec::with_capacity(followers.len());
        for (node_id, member) in followers {
            let peer = self.peers.entry(node_id).or_default();
            peer.member = Some(member);
            peer.led.add(mark);
            ids.push(node_id);
        }
        self.led.insert(id, Led { followers: ids, mark });
    }

    /// A group led by `leader` sleeps.
    pub(crate) fn follow(&mut self, id: PartitionId, term: u64, leader: NodeId) {
        self.remove(id);
        let mark = mark(id, term);
        let peer = self.peers.entry(leader).or_default();
        let round = peer.round;
        peer.followed.insert(id, Followed { mark, round });
        peer.followed_sum.add(mark);
        self.followed.insert(id, leader);
    }

    /// A group is awake, or gone. Who led it from elsewhere, and when that node
    /// spoke last.
    pub(crate) fn remove(&mut self, id: PartitionId) -> Option<(NodeId, Instant)> {
        if let Some(led) = self.led.remove(&id) {
            for follower in led.followers {
                if let Some(peer) = self.peers.get_mut(&follower) {
                    peer.led.take(led.mark);
                }
            }
        }
        let leader = self.followed.remove(&id)?;
        let peer = self.peers.get_mut(&leader)?;
        if let Some(followed) = peer.followed.remove(&id) {
            peer.followed_sum.take(followed.mark);
        }
        peer.heard.map(|(_, at)| (leader, at))
    }

    /// Whom to send what. An offer that is taken here is due no more.
    pub(crate) fn beats(&mut self) -> Vec<Beat> {
        let beats = self.peers.iter_mut().filter(|(_, peer)| peer.led.digest.count > 0);
        beats
            .filter_map(|(to, peer)| {
                let (to, member, digest) = (*to, peer.member.clone()?, peer.led.digest);
                let is_offer = std::mem::take(&mut peer.is_offer_due);
                Some(Beat { to, member, digest, is_offer })
            })
            .collect()
    }

    /// What sleeps with a peer, led from here, is offered to it again.
    pub(crate) fn offer_again(&mut self, follower: NodeId) {
        if let Some(peer) = self.peers.get_mut(&follower) {
            peer.is_offer_due = true;
        }
    }

    /// What is led from here and sleeps with a peer.
    pub(crate) fn led_to(&self, follower: NodeId) -> Vec<PartitionId> {
        let with_it = self.led.iter().filter(|(_, led)| led.followers.contains(&follower));
        let mut ids: Vec<PartitionId> = with_it.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// What sleeps with one peer, led from here.
    pub(crate) fn led_with(&self, peer: NodeId) -> Digest {
        self.peers.get(&peer).map_or(Digest::default(), |peer| peer.led.digest)
    }

    /// A follower answered a beat.
    pub(crate) fn answered(&mut self, follower: NodeId, same: bool) {
        if let Some(peer) = self.peers.get_mut(&follower)
            && peer.led.compare(same)
        {
            peer.is_offer_due = true;
        }
    }

    /// A leader's node spoke. Whether the sums are the same, and what has to
    /// wake: because they were not for too long, or because what put it to sleep was
    /// an earlier life of that process.
    pub(crate) fn heard(
        &mut self,
        leader: NodeId,
        life: u64,
        now: Instant,
        theirs: Digest,
    ) -> (bool, Heard) {
        let peer = self.peers.entry(leader).or_default();
        let is_reborn = peer.heard.is_some_and(|(before, _)| before != life);
        peer.heard = Some((life, now));
        if is_reborn && !peer.followed.is_empty() {
            return (false, Heard::Reborn(peer.followed.keys().copied().collect()));
        }
        let same = peer.followed_sum.digest == theirs;
        let differs = peer.followed_sum.compare(same);
        let heard = if differs { peer.doubts() } else { Heard::Fine };
        if same {
            peer.doubt = None;
        }
        (same, heard)
    }

    /// Whether a peer spoke no longer ago than that.
    pub(crate) fn heard_within(&self, peer: NodeId, now: Instant, time: Duration) -> bool {
        let heard = self.peers.get(&peer).and_then(|peer| peer.heard);
        heard.is_some_and(|(_, at)| now.duration_since(at) < time)
    }

    /// Whether a group sleeps under that leader.
    pub(crate) fn follows(&self, id: PartitionId, leader: NodeId) -> bool {
        self.followed.get(&id) == Some(&leader)
    }

    /// Leaders that were silent for `time`, each for its own and not counted from
    /// before `since`, and what sleeps under them.
    pub(crate) fn silent(
        &self,
        now: Instant,
        since: Instant,
        time: impl Fn(NodeId) -> Duration,
    ) -> Vec<(NodeId, Vec<PartitionId>)> {
        let followed = self.peers.iter().filter(|(_, peer)| !peer.followed.is_empty());
        followed
            .filter(|(id, peer)| {
                let heard_at = peer.heard.map_or(since, |(_, at)| at.max(since));
                now.duration_since(heard_at) >= time(**id)
            })
            .map(|(id, peer)| (*id, peer.followed.keys().copied().collect()))
            .collect()
    }
}

impl Peer {
    /// The sums have differed for too long. The leader offers all that it has again;
    /// what it did not offer until the next time is nobody's.
    fn doubts(&mut self) -> Heard {
        let Some(doubt) = self.doubt.take() else {
            self.round += 1;
            self.doubt = Some(self.round);
            return Heard::Fine;
        };
        let left = self.followed.iter().filter(|(_, followed)| followed.round < doubt);
        Heard::Differs(left.map(|(id, _)| *id).collect())
    }
}

/// What follows from a beat of a leader's node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Fine,
    /// The sums differ for too long, and these were not offered again: they wake.
    Differs(Vec<PartitionId>),
    /// Its process was started anew: these lost their leader.
    Reborn(Vec<PartitionId>),
}

#[cfg(test)]
mod tests {
    use partition_types::Incarnation;

    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn id(id: u64) -> PartitionId {
        PartitionId::new(id).unwrap()
    }

    fn member() -> Member {
        let address = String::new;
        Member {
            incarnation: Incarnation::from_bytes([1; 16]),
            peer_address: address(),
            client_address: address(),
            admin_address: address(),
        }
    }

    /// Both sides of five sleeping groups, led by node 1 and followed by node 2.
    fn both() -> (Book, Book) {
        let (mut leader, mut follower) = (Book::default(), Book::default());
        for group in 1..=5 {
            leader.lead(id(group), 3, vec![(node(2), member())]);
            follower.follow(id(group), 3, node(1));
        }
        (leader, follower)
    }

    /// So many beats until one side does something about it, and what the follower does.
    fn differ(leader: &mut Book, follower: &mut Book, now: Instant) -> Heard {
        let ours = leader.led_with(node(2));
        for _ in 1..DIFFER_MAX {
            assert_eq!(follower.heard(node(1), 7, now, ours), (false, Heard::Fine));
            leader.answered(node(2), false);
            assert!(!leader.beats()[0].is_offer);
        }
        leader.answered(node(2), false);
        follower.heard(node(1), 7, now, ours).1
    }

    #[test]
    fn both_sides_agree_until_one_of_them_wakes() {
        let (mut leader, mut follower) = both();
        let now = Instant::now();
        let ours = leader.led_with(node(2));
        assert_eq!(leader.beats().len(), 1);
        assert_eq!(follower.heard(node(1), 7, now, ours), (true, Heard::Fine));
        leader.answered(node(2), true);
        assert!(!leader.beats()[0].is_offer);

        follower.remove(id(4));
        follower.remove(id(4));
        assert_eq!(differ(&mut leader, &mut follower, now), Heard::Fine);
        assert!(leader.beats()[0].is_offer, "all that it has is offered again");
        assert!(!leader.beats()[0].is_offer, "once");
        assert_eq!(leader.led_to(node(2)), [1, 2, 3, 4, 5].map(id));
        // It agrees to all but one, and was not offered that.
        [1, 3, 5].iter().for_each(|group| follower.follow(id(*group), 3, node(1)));
        let left = vec![id(2)];
        assert_eq!(differ(&mut leader, &mut follower, now), Heard::Differs(left));
        assert!(leader.beats()[0].is_offer, "and again");
        assert_eq!(differ(&mut leader, &mut follower, now), Heard::Fine, "it begins anew");
        follower.follow(id(2), 3, node(1));

        leader.remove(id(4));
        let ours = leader.led_with(node(2));
        assert_eq!(follower.heard(node(1), 7, now, ours), (true, Heard::Fine));
        assert_eq!((leader.len(), follower.len()), (4, 4));
    }

    #[test]
    fn another_term_or_leader_is_another_group() {
        let (leader, mut follower) = both();
        follower.follow(id(1), 4, node(1));
        let now = Instant::now();
        assert!(!follower.heard(node(1), 7, now, leader.led_with(node(2))).0);
        follower.follow(id(1), 3, node(3));
        assert!(follower.follows(id(1), node(3)) && !follower.follows(id(1), node(1)));
        assert_eq!(follower.len(), 5, "it sleeps once");
    }

    #[test]
    fn a_process_that_is_started_anew_has_put_nothing_to_sleep() {
        let (leader, mut follower) = both();
        let now = Instant::now();
        let ours = leader.led_with(node(2));
        follower.heard(node(1), 7, now, ours);
        let all = [1, 2, 3, 4, 5].map(id).to_vec();
        assert_eq!(follower.heard(node(1), 8, now, ours).1, Heard::Reborn(all));
    }

    #[test]
    fn who_is_silent_is_found_with_all_that_sleeps_under_it() {
        let (leader, mut follower) = both();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let late = now + second;
        assert_eq!(follower.silent(late, now, |_| second).len(), 1, "never heard at all");
        follower.heard(node(1), 7, now, leader.led_with(node(2)));
        assert!(follower.silent(now + second / 2, now, |_| second).is_empty());
        assert!(follower.silent(late, late, |_| second).is_empty(), "it stood still itself");
        assert!(follower.heard_within(node(1), now + second / 2, second));
        let silent = follower.silent(late, now, |_| second);
        assert_eq!(silent, [(node(1), [1, 2, 3, 4, 5].map(id).to_vec())]);
        assert!(!follower.heard_within(node(1), late, second));
    }
}
