//! Units that come, go and fail while the node serves.

use startup_gate::{FaultKind, NotAdmitted, UnitFault, UnitState};

use crate::support::{climb, config, scripts, traced};

#[tokio::test(start_paused = true)]
async fn admitted_once_removed_and_admitted_again() {
    let (startup, trace) = traced(config());
    let serving = climb(startup, scripts(2, &[])).await.expect("good");
    let (handle, admission) = (serving.handle(), serving.admission());

    let admitted = admission.admit(7, 1).expect("new");
    assert_eq!((*admitted.vote.unit(), *admitted.campaign.unit()), (7, 7));
    assert_eq!(handle.state_of(&7), Some(UnitState::Ready));
    assert_eq!(admission.admit(7, 1).expect_err("known"), NotAdmitted::Known);
    assert_eq!(admission.admit(1, 0).expect_err("known since the start"), NotAdmitted::Known);

    assert!(admission.remove(&7));
    assert!(!admission.remove(&7));
    assert_eq!(handle.state_of(&7), None);
    assert!(trace.has("7 removed"));
    assert!(admission.admit(7, 1).is_ok());
    assert_eq!(handle.counts().ready, 3);
    let load = handle.report().stages[0].clone();
    assert_eq!((load.units_total, load.units_done), (2, 2), "no part of the start");
}

/// A disk that fails while the node serves does not close the gate.
#[tokio::test(start_paused = true)]
async fn quarantined_while_it_serves() {
    let (startup, trace) = traced(config());
    let serving = climb(startup, scripts(2, &[])).await.expect("good");
    let (handle, admission) = (serving.handle(), serving.admission());
    for unit in [1, 2] {
        assert!(handle.quarantine(&unit, UnitFault::unreadable("disk 0 failed")));
        assert!(!handle.quarantine(&unit, UnitFault::unreadable("disk 0 failed")));
    }
    assert!(!handle.quarantine(&9, UnitFault::unreadable("disk 0 failed")), "unknown");
    assert!(handle.is_open());
    let report = handle.report();
    assert_eq!(report.quarantined[0].reason.as_deref(), Some("unreadable: disk 0 failed"));
    let state = handle.state_of(&1);
    assert!(matches!(
        state,
        Some(UnitState::Quarantined { fault }) if fault.kind() == FaultKind::Unreadable
    ));
    assert_eq!(admission.admit(1, 0).expect_err("not repaired"), NotAdmitted::Known);
    assert!(admission.remove(&1) && admission.admit(1, 0).is_ok(), "repaired");
    assert_eq!(handle.state_of(&1), Some(UnitState::Ready));
    assert!(trace.has("1 quarantined"));
}
