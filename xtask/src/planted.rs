//! `cargo xtask planted`: plants each known bug in a copy of the tree and shows
//! that the test which is there for it turns red. A harness that was never seen
//! to fail proves nothing.
//!
//! Minutes, not seconds: each bug is a build of its own. Not part of `test`.

mod bug;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{cargo, setup, tool};
use bug::{BUGS, Bug};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the bugs whose name has this in it
    filter: Option<String>,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

/// What became of one bug.
struct Outcome {
    name: &'static str,
    caught: bool,
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::for_build()?;
    let wanted = |bug: &&Bug| args.filter.as_ref().is_none_or(|part| bug.name.contains(part));
    let bugs: Vec<&Bug> = BUGS.iter().filter(wanted).collect();
    if bugs.is_empty() {
        bail!("no bug is called that");
    }
    let tree = copy_of_the_tree()?;
    let mut outcomes = Vec::new();
    for bug in bugs {
        let began = Instant::now();
        let caught = is_caught(&tree, bug).with_context(|| format!("bug {}", bug.name))?;
        let seconds = began.elapsed().as_secs_f64();
        println!("{} {} ({seconds:.0} s)", if caught { "caught" } else { "MISSED" }, bug.name);
        outcomes.push(Outcome { name: bug.name, caught, seconds });
    }
    if args.json {
        println!("{}", json(&outcomes));
    }
    match outcomes.iter().filter(|outcome| !outcome.caught).count() {
        0 => Ok(()),
        missed => bail!("{missed} planted bugs were not caught"),
    }
}

/// Plants a bug, runs its test, and takes the bug out again. The test must pass
/// without it: a test that is red anyway catches nothing.
fn is_caught(tree: &Path, bug: &Bug) -> Result<bool> {
    let file = tree.join(bug.file);
    let sound = fs::read_to_string(&file).with_context(|| format!("read {}", bug.file))?;
    match sound.matches(bug.sound).count() {
        1 => {}
        n => bail!(
            "{} has {n} times what the bug replaces; update xtask/src/planted/bug.rs",
            bug.file
        ),
    }
    if !passes(tree, bug)? {
        bail!("`{}` fails without the bug, too", bug.test);
    }
    fs::write(&file, sound.replace(bug.sound, bug.buggy))?;
    let passed = passes(tree, bug);
    fs::write(&file, sound)?;
    Ok(!passed?)
}

fn passes(tree: &Path, bug: &Bug) -> Result<bool> {
    let which = format!("test(={})", bug.test);
    let mut command = cargo::cargo(["nextest", "run", "--package", bug.package, "-E", &which]);
    command.current_dir(tree).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("start `{}`", tool::show(&command)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(true),
        // nextest: tests ran, and some failed.
        Some(100) => Ok(false),
        _ => bail!("`{}` did not run the test\n{}", tool::show(&command), said.trim_end()),
    }
}

/// What is committed, in a directory that stays for the next run: cargo then
/// builds only what a bug changes.
fn copy_of_the_tree() -> Result<PathBuf> {
    let tree = cargo::target_dir().join("planted-tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    let copy = format!("git archive HEAD | tar -x -C '{}'", tree.display());
    tool::run(Command::new("sh").current_dir(cargo::root()).args(["-c", &copy]))?;
    Ok(tree)
}

fn json(outcomes: &[Outcome]) -> String {
    let bugs = outcomes.iter().map(|outcome| {
        let Outcome { name, caught, seconds } = outcome;
        // The bugs here need no seed; the simulator's will.
        format!(
            r#"{{"name":"{name}","caught":{caught},"caught_at_seed":null,"seconds":{seconds:.1}}}"#
        )
    });
    format!(r#"{{"bugs":[{}]}}"#, bugs.collect::<Vec<_>>().join(","))
}
