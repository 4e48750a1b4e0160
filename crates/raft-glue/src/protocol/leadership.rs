//! When a leadership counts as taken before listening, and when its clock runs.

/// What one replica leads, and whether clients can reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Leadership {
    /// The replica leads.
    pub leading: bool,
    /// Its node's client port is open.
    pub serving: bool,
}

/// What a change of either means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeadershipChange {
    /// A leadership began behind a closed port: to be counted.
    pub is_prelisten: bool,
    /// From now on clients cannot reach the leader.
    pub is_unserved: bool,
}

impl Leadership {
    /// Whether it leads while no client can reach it.
    #[must_use]
    #[inline]
    pub fn is_unserved(self) -> bool {
        self.leading && !self.serving
    }

    /// What it means to go from here to `next`.
    #[must_use]
    #[inline]
    pub fn change_to(self, next: Self) -> LeadershipChange {
        let is_unserved = next.is_unserved();
        LeadershipChange { is_prelisten: is_unserved && !self.leading, is_unserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_began_behind_a_closed_port() {
        let state = |leading, serving| Leadership { leading, serving };
        for (from, to, is_prelisten, is_unserved) in [
            (state(false, false), state(true, false), true, true),
            (state(false, true), state(true, true), false, false),
            (state(true, false), state(true, true), false, false),
            (state(true, true), state(true, false), false, true),
            (state(true, false), state(false, false), false, false),
        ] {
            let change = from.change_to(to);
            assert_eq!(change, LeadershipChange { is_prelisten, is_unserved }, "{from:?} {to:?}");
        }
    }
}
