//! Whom a leader may tell to take over, and when a drain is finished.

use partition_types::NodeId;

use super::Voice;

/// A follower may lack this many entries when a transfer begins: the rest
/// reaches it before it campaigns.
pub const LAG_MAX: u64 = 64;

/// Another voter, as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Follower {
    /// Which node.
    pub id: NodeId,
    /// Entries that it is not known to have.
    pub lag: u64,
}

/// What a look at the followers found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// May be told now.
    Ready(NodeId),
    /// Somebody may be ready later.
    Later,
    /// Nobody else is up.
    Nobody {
        /// All of them said so themselves; nobody was just not heard.
        is_sure: bool,
    },
}

/// In which order followers are asked: `wanted` first, then those that lack the
/// fewest entries.
pub fn order_followers(followers: &mut [Follower], wanted: Option<NodeId>) {
    followers.sort_by_key(|follower| (Some(follower.id) != wanted, follower.lag));
}

/// The first follower that has nearly everything, says itself that it could
/// lead, and was not `tried` in vain. `answers` stand in the order of
/// `followers`.
#[must_use]
pub fn choose_target(followers: &[Follower], answers: &[Voice], tried: &[NodeId]) -> Target {
    let serves = |voice| matches!(voice, Voice::Serving | Voice::Leader);
    let ready = followers.iter().zip(answers).find(|(follower, voice)| {
        serves(**voice) && follower.lag <= LAG_MAX && !tried.contains(&follower.id)
    });
    match ready {
        Some((follower, _)) => Target::Ready(follower.id),
        None if answers.iter().any(|voice| serves(*voice) || *voice == Voice::Starting) => {
            Target::Later
        }
        None => Target::Nobody { is_sure: answers.iter().all(|voice| *voice == Voice::Out) },
    }
}

/// Whether a drain has more to do: it leads something that somebody else could
/// lead, or a campaign from before the drain may still succeed.
#[must_use]
#[inline]
pub fn drain_goes_on(led_by_choice: usize, candidates: usize) -> bool {
    led_by_choice > 0 || candidates > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_only_a_caught_up_voter_that_serves() {
        let node = |id| NodeId::new(id).unwrap();
        let mut followers =
            [(1, 9), (2, 0), (3, LAG_MAX + 1)].map(|(id, lag)| Follower { id: node(id), lag });
        order_followers(&mut followers, Some(node(3)));
        assert_eq!(followers.map(|follower| follower.id), [3, 2, 1].map(node));
        use Voice::{Out, Serving, Silent, Starting};
        for (answers, tried, target) in [
            ([Serving, Serving, Serving], &[][..], Target::Ready(node(2))),
            ([Serving, Serving, Serving], &[node(2)], Target::Ready(node(1))),
            ([Serving, Starting, Serving], &[], Target::Ready(node(1))),
            ([Serving, Starting, Out], &[], Target::Later),
            ([Out, Serving, Out], &[node(2)], Target::Later),
            ([Out, Silent, Out], &[], Target::Nobody { is_sure: false }),
            ([Out, Out, Out], &[], Target::Nobody { is_sure: true }),
        ] {
            assert_eq!(choose_target(&followers, &answers, tried), target, "{answers:?}");
        }
    }
}
