//! What must not compile: wrong orders, forged, copied and reused rights.

#[test]
fn wrong_orders_and_forged_rights_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/right_order.rs");
    cases.compile_fail("tests/ui/fail_*.rs");
}
