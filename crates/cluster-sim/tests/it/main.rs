//! The model's small scenarios, and every broken rule, as a test.

use cluster_sim::model;

#[test]
fn nothing_is_violated_and_every_broken_rule_is_caught() {
    let report = model::run(true, &|line| println!("{line}"));
    println!("{report}");
    assert_eq!(report.violations, 0);
    for scenario in &report.scenarios {
        assert!(scenario.complete, "{} was cut short", scenario.name);
        assert!(scenario.states > 1, "{} goes nowhere", scenario.name);
    }
    for mutation in &report.mutations {
        assert!(mutation.caught, "{} violates {:?}", mutation.name, mutation.property);
        assert!(mutation.steps > 0 && mutation.trace.iter().all(|line| !line.is_empty()));
    }
    assert!(report.states >= report.states_min, "{} states", report.states);
    assert!(report.passed());
}
