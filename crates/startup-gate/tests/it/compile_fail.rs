//! What must not compile: wrong orders, forged, copied and reused rights. That
//! the right order compiles is shown by every other test, see `support::climb`.

#[test]
fn wrong_orders_and_forged_rights_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail_*.rs");
}
