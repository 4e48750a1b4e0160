//! The stock Python client as a child process: `client.py`, which is part of
//! this program, run by an interpreter that has gRPC.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use datanode_client::PartitionId;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::addresses::Addresses;
use super::load::Pace;
use super::record::{Broken, Kind, Op, Recorder, Who};

const SCRIPT: &str = include_str!("client.py");
/// How long it may take to make its registers, and to read everything back.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How it is run.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) interpreter: PathBuf,
    /// Where the script is written to.
    pub(super) dir: PathBuf,
    pub(super) threads: u64,
    pub(super) pace: Pace,
    pub(super) partitions: usize,
}

/// What it read back in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Done {
    pub(super) objects: u64,
    pub(super) reads: u64,
}

/// One that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Python {
    child: Child,
    /// Closed, it tells the child to come to its end.
    stdin: ChildStdin,
    lines: JoinHandle<anyhow::Result<Option<Done>>>,
}

impl Python {
    /// Starts it and waits until its load runs.
    ///
    /// # Errors
    /// It cannot be started, or ends before.
    pub(super) async fn start(
        config: &Config,
        nodes: &Addresses,
        recorder: Arc<Recorder>,
    ) -> anyhow::Result<Self> {
        let script = config.dir.join("client.py");
        std::fs::write(&script, SCRIPT).with_context(|| format!("write {}", script.display()))?;
        let mut command = command(config, &script, recorder.epoch_unix_ns());
        let mut child = command
            .args(nodes.as_slice())
            .spawn()
            .with_context(|| format!("start {}", config.interpreter.display()))?;
        let stdin = child.stdin.take().expect("it is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let ready = tokio::time::timeout(TIMEOUT, lines.next_line()).await;
        match ready.context("the Python client does not become ready")?? {
            Some(line) if line == "ready" => {}
            // Its load may be quicker than its word.
            Some(line) if parse(&line).is_some() => take(&line, &recorder)?,
            other => bail!("the Python client said {other:?} instead of \"ready\""),
        }
        let lines = tokio::spawn(follow(lines, recorder));
        Ok(Self { child, stdin, lines })
    }

    /// Ends its load, and waits until it has read everything back.
    ///
    /// # Errors
    /// It failed, or said something that makes no sense.
    pub(super) async fn stop(mut self) -> anyhow::Result<Done> {
        drop(self.stdin);
        let done = tokio::time::timeout(TIMEOUT, self.lines).await;
        let done = done.context("the Python client does not come to its end")???;
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("the Python client ended with {status}");
        }
        done.context("the Python client did not read anything back")
    }
}

fn command(config: &Config, script: &Path, epoch_unix_ns: u128) -> Command {
    let mut command = Command::new(&config.interpreter);
    command
        .arg(script)
        .arg(epoch_unix_ns.to_string())
        .arg(config.threads.to_string())
        .arg(match config.pace {
            Pace::Every(every) => format!("every:{}", every.as_micros()),
            Pace::Pause(pause) => format!("pause:{}", pause.as_micros()),
        })
        .args(["1", &config.partitions.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Takes down what it says until it has nothing more to say.
async fn follow(
    mut lines: Lines<BufReader<ChildStdout>>,
    recorder: Arc<Recorder>,
) -> anyhow::Result<Option<Done>> {
    let mut done = None;
    while let Some(line) = lines.next_line().await? {
        match line.strip_prefix("done ") {
            Some(figures) => done = Some(parse_done(figures)?),
            None => take(&line, &recorder)?,
        }
    }
    Ok(done)
}

/// Takes down one line of it.
fn take(line: &str, recorder: &Recorder) -> anyhow::Result<()> {
    match parse(line) {
        Some(Said::Op(op)) => recorder.add(op),
        Some(Said::Error(what)) => recorder.error(what),
        Some(Said::Broken(broken)) => recorder.broken(broken),
        Some(Said::Ready) => {}
        None => bail!("the Python client said {line:?}"),
    }
    Ok(())
}

/// A line that makes sense.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Ready,
    Op(Op),
    Error(String),
    Broken(Broken),
}

fn parse(line: &str) -> Option<Said> {
    if line == "ready" {
        return Some(Said::Ready);
    }
    let (word, rest) = line.split_once(' ')?;
    let told = rest.to_owned();
    Some(match word {
        "op" => Said::Op(parse_op(rest)?),
        "error" => Said::Error(told),
        "stale" => Said::Broken(Broken::Stale(told)),
        "lost" => Said::Broken(Broken::Lost(told)),
        "wrong" => Said::Broken(Broken::Wrong(told)),
        _ => return None,
    })
}

fn parse_op(text: &str) -> Option<Op> {
    let mut words = text.split(' ');
    let kind = match words.next()? {
        "create" => Kind::Create,
        "put" => Kind::Put,
        "append" => Kind::Append,
        "write" => Kind::Write,
        "read" => Kind::Read,
        _ => return None,
    };
    let partition_id = PartitionId::new(words.next()?.parse().ok()?).ok()?;
    let (began_us, took_us) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let ok = match words.next()? {
        "ok" => true,
        "error" => false,
        _ => return None,
    };
    Some(Op { began_us, took_us, partition_id, kind, who: Who::Python, ok })
}

fn parse_done(figures: &str) -> anyhow::Result<Done> {
    let figures: Vec<u64> = figures.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    match figures[..] {
        [objects, reads] => Ok(Done { objects, reads }),
        _ => bail!("the Python client said it is done with {figures:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_the_lines_of_the_script() {
        let op = Op {
            began_us: 5,
            took_us: 70,
            partition_id: PartitionId::new(3).unwrap(),
            kind: Kind::Put,
            who: Who::Python,
            ok: false,
        };
        assert_eq!(parse("op put 3 5 70 error"), Some(Said::Op(op)));
        assert_eq!(parse("ready"), Some(Said::Ready));
        let stale = Said::Broken(Broken::Stale("register: 3 after 4".into()));
        assert_eq!(parse("stale register: 3 after 4"), Some(stale));
        assert_eq!(parse("error it broke"), Some(Said::Error("it broke".into())));
        for nonsense in [
            "",
            "op",
            "op put 3 5 70",
            "op put 3 x 70 ok",
            "op fly 3 5 70 ok",
            "op put 0 5 70 ok",
            "Traceback",
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(parse_done("12 36").unwrap(), Done { objects: 12, reads: 36 });
        assert!(parse_done("12").is_err());
    }
}
