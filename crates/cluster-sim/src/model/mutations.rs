//! Each rule broken on purpose, where it shows, and the property that is there
//! to notice it.

use super::liveness;
use super::rules::Mutation;
use super::scenario::{self, Scenario};

/// One broken rule.
pub(super) struct Broken {
    pub(super) scenario: Scenario,
    /// The name of the property.
    pub(super) violates: &'static str,
}

impl Broken {
    pub(super) fn name(&self) -> &'static str {
        self.scenario.mutation.map_or("", Mutation::name)
    }
}

/// Every one of them.
pub(super) fn all() -> Vec<Broken> {
    let leader = "leader is loaded and checked";
    let unserved = "no leader behind a closed port without need";
    let drain = "drain gains no leadership";
    let acknowledged = "acknowledged survives";
    let list = [
        (Mutation::FenceDropped, scenario::rolling(), leader),
        (Mutation::ListenBeforeElect, scenario::rolling(), "port listens last"),
        (Mutation::LeaderRestored, scenario::rolling_one(), leader),
        (Mutation::LeaderRemembered, scenario::cold(), "gate opens on verified leaders"),
        (Mutation::PollIgnored, scenario::rolling_one(), unserved),
        (Mutation::TimerRunsOn, scenario::rolling_one(), unserved),
        (Mutation::TakeOverUnserved, scenario::drain_one(), unserved),
        (Mutation::DrainUnfenced, scenario::drain_one(), drain),
        (Mutation::LateGrantCounts, scenario::drain_one(), drain),
        (Mutation::ClosedTooEarly, scenario::drain_one(), "port closes on no leader"),
        (Mutation::QuarantineUnfenced, scenario::goes_bad(), "quarantined never leads"),
        (Mutation::VoteForgotten, scenario::cold_one(), acknowledged),
        (
            Mutation::TermReused,
            Scenario { terms: [3, 0], ..scenario::cold_one() },
            "one leader a leader id",
        ),
        (Mutation::LogIgnored, scenario::stale(), acknowledged),
        (Mutation::PeerPortLast, scenario::cold(), liveness::NAME),
    ];
    list.into_iter()
        .map(|(mutation, scenario, violates)| Broken {
            scenario: Scenario { mutation: Some(mutation), ..scenario },
            violates,
        })
        .collect()
}
