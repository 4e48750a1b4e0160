//! The bugs that are planted, each with the one test that must catch it.

/// A bug: what the sound code says, and what it says with the bug.
pub(super) struct Bug {
    pub(super) name: &'static str,
    /// From the root of the repository.
    pub(super) file: &'static str,
    /// In that file exactly once.
    pub(super) sound: &'static str,
    pub(super) buggy: &'static str,
    pub(super) package: &'static str,
    /// Its whole name.
    pub(super) test: &'static str,
}

/// The paths to leadership of design and documentation, opened one by one; then
/// what a start gets wrong elsewhere.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "fence: the election timer runs",
        file: "crates/raft-glue/src/shared.rs",
        sound: "enable_elect: false,",
        buggy: "enable_elect: true,",
        package: "raft-glue",
        test: "fence::no_timer_fires_behind_the_fence",
    },
    Bug {
        name: "fence: a leadership is restored at start",
        file: "crates/raft-glue/src/shared.rs",
        sound: "enable_leader_restore: Some(false),",
        buggy: "enable_leader_restore: Some(true),",
        package: "raft-glue",
        test: "fence::no_leadership_is_restored_from_the_vote_on_disk",
    },
    Bug {
        name: "fence: an inbound transfer is taken",
        file: "crates/raft-glue/src/inbound.rs",
        sound: "self.fence.pass(Path::Transfer) && protocol::may_take_over(self.fence.state(), serving)",
        buggy: "self.fence.pass(Path::Transfer) || protocol::may_take_over(self.fence.state(), serving) || true",
        package: "raft-glue",
        test: "fence::a_fenced_replica_takes_nothing_over",
    },
    Bug {
        name: "fence: the host campaigns",
        file: "crates/raft-glue/src/elect.rs",
        sound: "if !self.fence.pass(Path::Trigger) {",
        buggy: "if false && !self.fence.pass(Path::Trigger) {",
        package: "raft-glue",
        test: "fence::a_fenced_replica_does_not_campaign_when_it_is_told_to",
    },
    Bug {
        name: "fence: a group is initialised",
        file: "crates/raft-glue/src/host.rs",
        sound: "if !group.fence.pass(Path::Initialize) {",
        buggy: "if false && !group.fence.pass(Path::Initialize) {",
        package: "raft-glue",
        test: "fence::a_group_is_not_initialised_behind_the_fence",
    },
    Bug {
        name: "fence: the adapter lets vote requests out",
        file: "crates/raft-glue/src/network.rs",
        sound: "        if self.fence.pass(path) {\n            return Ok(());\n        }",
        buggy: "        if self.fence.pass(path) || true {\n            return Ok(());\n        }",
        package: "raft-glue",
        test: "network::tests::no_vote_request_of_a_fenced_replica_leaves",
    },
    Bug {
        name: "elect: a leader that is gone or silent counts as live",
        file: "crates/raft-glue/src/contact.rs",
        sound: "!heard.is_gone && heard.term >= term && heard.at.elapsed() < age_max",
        buggy: "heard.term >= term",
        package: "raft-glue",
        test: "contact::tests::forgets_the_old_and_the_overtaken",
    },
    Bug {
        name: "succeed: a voter that hears the leader says yes",
        file: "crates/raft-glue/src/succeed.rs",
        sound: "        self.leader().is_none()\n",
        buggy: "        true\n",
        package: "raft-glue",
        test: "election::a_leader_that_lives_is_not_succeeded",
    },
    Bug {
        name: "check: reads while it is written to",
        file: "crates/partition-store/src/partition.rs",
        sound: "        check::check_partition(raft.as_ref(), data.as_ref(), self.id(), verify).map(|_| ())",
        buggy: "        drop((raft, data));\n        let (raft, data) = (self.disk.raft.as_ref(), self.disk.data.as_ref());\n        check::check_partition(raft, data, self.id(), verify).map(|_| ())",
        package: "partition-store",
        test: "partitions::a_check_beside_writing_finds_no_fault_that_is_not_there",
    },
    Bug {
        name: "join: what is committed during a load is dropped",
        file: "crates/raft-glue/src/replay.rs",
        sound: "                *upto = (*upto).max(Some(last));\n",
        buggy: "                *upto = (*upto).max(self.store.state().applied().filter(|_| last.index == 0));\n",
        package: "raft-glue",
        test: "rejoin::what_is_committed_during_a_load_is_applied_by_its_end",
    },
    Bug {
        name: "load: nobody hears who waits for a partition",
        file: "crates/raft-glue/src/inbound.rs",
        sound: "            self.shared.wanted.heard(id, &request);\n",
        buggy: "            let _ = &request;\n",
        package: "raft-glue",
        test: "rejoin::what_a_quorum_or_a_client_waits_for_is_loaded_first",
    },
    Bug {
        name: "disk: a log that was lost is taken for one that was never written",
        file: "crates/partition-store/src/mark.rs",
        sound: "    if found >= mark.sequence {\n",
        buggy: "    if found >= mark.sequence || found < mark.sequence {\n",
        package: "partition-store",
        test: "mark::a_log_that_was_lost_is_refused_until_it_is_put_back",
    },
    Bug {
        name: "removed: a replica goes although its group talks to it again",
        file: "crates/raft-glue/src/removed.rs",
        sound: "held.messages == messages && !kept && is_outlived()",
        buggy: "(held.messages == messages || !kept) && is_outlived()",
        package: "raft-glue",
        test: "removed::tests::lets_go_only_when_nothing_came_between",
    },
    Bug {
        name: "removed: a leader leaves out whom it may still take in again",
        file: "crates/raft-glue/src/protocol/removal.rs",
        sound: "self.at.filter(|at| at.index < self.applied_next)?",
        buggy: "self.at.filter(|_| self.applied_next > 0)?",
        package: "raft-glue",
        test: "protocol::removal::tests::a_leader_leaves_out_only_whom_committed_members_leave_out",
    },
    Bug {
        name: "gate: votes are granted before the log is readable",
        file: "crates/startup-gate/src/machine/climb.rs",
        sound: "if self.joins { UnitState::Joining } else { UnitState::Loading }",
        buggy: "if self.joins { UnitState::Waiting } else { UnitState::Loading }",
        package: "startup-gate",
        test: "machine::every_reachable_state_is_sound",
    },
];
