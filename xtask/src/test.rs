//! `cargo xtask test`: everything CI proves, and a closing line that counts it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cargo, python, setup, sim, tool};

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only the tests whose name has this in it
    filter: Option<String>,
}

/// What a runner counted.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::for_tests()?;
    let mut count = Count::default();
    let mut failures = Vec::new();
    for mut command in commands(args)? {
        eprintln!("xtask: {}", tool::show(&command));
        if !run_counted(&mut command, &mut count)? {
            failures.push(tool::show(&command));
        }
    }
    // One name of a test says nothing of seeds.
    if args.filter.is_none() {
        let seeds = ("cargo xtask sim --planted", sim::run(&sim::Args::for_tests()));
        let scale = ("cargo xtask sim --scale, reduced", sim::run_reduced_scale());
        for (what, ran) in [seeds, scale] {
            match ran {
                Ok(()) => count.passed += 1,
                Err(error) => {
                    eprintln!("xtask: {error:#}");
                    count.failed += 1;
                    failures.push(what.to_owned());
                }
            }
        }
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    if !failures.is_empty() {
        bail!("failed: {}", failures.join("; "));
    }
    if count.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// The runs: every unit and integration test, then the examples in the docs.
fn commands(args: &Args) -> Result<Vec<Command>> {
    let mut tests = if tool::on_path("cargo-nextest") {
        cargo::cargo(["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        cargo::cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
    };
    tests.env("DATANODE_TEST_PYTHON", python::environment()?);
    tests.env("DATANODE_TEST_PROMTOOL", setup::promtool()?);
    tests.args(&args.filter);
    let mut docs = cargo::cargo(["test", "--workspace", "--doc", "--no-fail-fast"]);
    docs.args(&args.filter);
    Ok(vec![tests, docs])
}

/// Runs a test runner, passes its output on and counts along. True: all passed.
fn run_counted(command: &mut Command, count: &mut Count) -> Result<bool> {
    // nextest reports on standard error, cargo test on standard output.
    let nextest = command.get_args().next().is_some_and(|arg| arg == "nextest");
    let mut child = if nextest {
        command.stderr(Stdio::piped()).spawn()
    } else {
        command.stdout(Stdio::piped()).spawn()
    }
    .with_context(|| format!("start `{}`", tool::show(command)))?;
    let output: Box<dyn std::io::Read> = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), _) => Box::new(stdout),
        (None, Some(stderr)) => Box::new(stderr),
        (None, None) => unreachable!("one of them was piped"),
    };
    // nextest shows what a failed test printed, which has a result of its own.
    let summary = if nextest { "Summary [" } else { "test result:" };
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line.trim_start().starts_with(summary) {
            count.passed += number_before(&line, " passed");
            count.failed += number_before(&line, " failed");
        }
        println!("{line}");
    }
    Ok(child.wait()?.success())
}

/// The number that stands before `word`: "3 passed" has 3 before " passed".
fn number_before(line: &str, word: &str) -> u64 {
    let Some((before, _)) = line.split_once(word) else { return 0 };
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::number_before;

    #[test]
    fn counts_what_the_runners_print() {
        for (line, passed, failed) in [
            ("Summary [   0.012s] 12 tests run: 11 passed (1 slow), 1 failed, 2 skipped", 11, 1),
            ("Summary [   4.1s] 3 tests run: 3 passed, 0 skipped", 3, 0),
            ("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured", 7, 0),
            ("test result: FAILED. 7 passed; 2 failed; 0 ignored", 7, 2),
        ] {
            assert_eq!(number_before(line, " passed"), passed, "{line}");
            assert_eq!(number_before(line, " failed"), failed, "{line}");
        }
    }
}
