//! The examples as real processes: each checks itself, says what it saw, and
//! exits by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `cargo test` and nextest build the examples beside the tests. A run of this
/// test target alone does not: what is missing or old is built here.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("a test has a path");
    path.pop();
    path.pop();
    path.push("examples");
    path.push(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = package.join("examples").join(format!("{name}.rs"));
    let changed = |path: &Path| path.metadata().and_then(|of| of.modified()).ok();
    if changed(&path) < changed(&source) {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--example", name, "--manifest-path"])
            .arg(package.join("Cargo.toml"))
            .status();
        assert!(built.expect("cargo runs").success());
    }
    path
}

/// Runs an example and returns what it wrote, line by line.
fn lines_of(name: &str) -> Vec<String> {
    let Output { status, stdout, stderr } =
        Command::new(example(name)).output().expect("the example runs");
    assert!(status.success(), "{name}: {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn four_stages_passes_all_of_them_in_thirty_lines() {
    let lines = lines_of("four_stages");
    assert_eq!(lines[..2], ["users leads", "orders leads"]);
    assert!(lines[2].starts_with("listening after "), "{lines:?}");
    assert_eq!(lines[3..], ["closes the open port", "stopped"]);
    let source = include_str!("../../examples/four_stages.rs");
    assert!(source.lines().count() <= 30, "the README says thirty lines");
}

/// It asserts itself that nobody can connect before the gate opens, and again
/// after it closed.
#[test]
fn tcp_echo_refuses_then_echoes() {
    let lines = lines_of("tcp_echo");
    assert!(lines[0].starts_with("listening after "), "{lines:?}");
    assert_eq!(lines[1..], ["echo: hello", "stopped"]);
}

#[test]
fn axum_service_is_ready_only_while_it_serves() {
    let lines = lines_of("axum_service");
    let answers: Vec<_> =
        lines.iter().map(|line| line.split_once(": HTTP/1.1 ").unwrap_or_default()).collect();
    assert_eq!(answers[0], ("/readyz while it starts", "503 Service Unavailable"));
    assert_eq!(answers[1], ("/readyz when it serves", "200 OK"));
    assert_eq!(answers[2], ("/ of the service", "200 OK"));
    assert!(lines[3].starts_with("listening after "), "{lines:?}");
    assert_eq!(answers[4], ("/readyz while it drains", "503 Service Unavailable"));
    assert_eq!(lines.len(), 5);
}
