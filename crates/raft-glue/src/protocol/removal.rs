//! Whether a replica is its group's no longer: what its leader may say of it, and
//! what the replica may believe. The argument is in `crate::removed`.

use partition_types::LogId;

/// The members as a leader knows them, from one look after a quorum confirmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Roll {
    /// Where the members stand in its log.
    pub at: Option<LogId>,
    /// One past the last entry that it has applied.
    pub applied_next: u64,
    /// They are being exchanged for others.
    pub is_joint: bool,
    /// Who asks is one of them, in the incarnation that asks.
    pub has_asker: bool,
}

impl Roll {
    /// Where it stands that the asker is no member; `None` if it is one, or if that
    /// may still change without another entry.
    #[must_use]
    #[inline]
    pub fn leaves_out(self) -> Option<LogId> {
        let at = self.at.filter(|at| at.index < self.applied_next)?;
        (!self.is_joint && !self.has_asker).then_some(at)
    }
}

/// What a replica has in its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Memory {
    /// Its last entry, or what its snapshot covers.
    pub last: Option<LogId>,
    /// Where the last members stand that it was told of.
    pub members_at: Option<LogId>,
}

impl Memory {
    /// Whether a replica with this memory is the group's no longer, when a leader's
    /// members at `removed_at` leave it out. One that was never told of any members is
    /// being made, and stays.
    #[must_use]
    #[inline]
    pub fn is_outlived(self, removed_at: LogId) -> bool {
        let Some(members_at) = self.members_at else { return false };
        self.last.is_some_and(|last| last < removed_at) || members_at == removed_at
    }
}

#[cfg(test)]
mod tests {
    use partition_types::NodeId;

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term, leader: NodeId::new(1).ok(), index }
    }

    #[test]
    fn a_leader_leaves_out_only_whom_committed_members_leave_out() {
        let roll = Roll { at: Some(id(3, 7)), applied_next: 8, is_joint: false, has_asker: false };
        assert_eq!(roll.leaves_out(), Some(id(3, 7)));
        for unsure in [
            Roll { applied_next: 7, ..roll },
            Roll { is_joint: true, ..roll },
            Roll { has_asker: true, ..roll },
            Roll { at: None, ..roll },
        ] {
            assert_eq!(unsure.leaves_out(), None, "{unsure:?}");
        }
    }

    #[test]
    fn a_replica_believes_only_what_is_newer_than_all_it_has() {
        let removed_at = id(3, 7);
        for (last, members_at, outlived) in [
            (None, None, false),
            // It is given its first entries just now, and no members yet.
            (Some(id(1, 2)), None, false),
            (Some(id(1, 2)), Some(id(0, 0)), true),
            (Some(id(3, 6)), Some(id(0, 0)), true),
            // What it made as a leader that was deposed is older, however long.
            (Some(id(2, 90)), Some(id(2, 80)), true),
            (Some(id(3, 7)), Some(id(0, 0)), false),
            (Some(id(3, 9)), Some(id(0, 0)), false),
            (Some(id(4, 2)), Some(id(0, 0)), false),
            // It was added again.
            (Some(id(3, 9)), Some(id(3, 8)), false),
            // It knows it itself.
            (Some(id(3, 7)), Some(id(3, 7)), true),
            (Some(id(3, 9)), Some(id(3, 7)), true),
        ] {
            let memory = Memory { last, members_at };
            assert_eq!(memory.is_outlived(removed_at), outlived, "{memory:?}");
        }
    }
}
