//! `datanode roll`: restarts a cluster node by node, so that clients notice
//! nothing.
//!
//! A turn takes the node's stop token, which is given only where every group can
//! spare it; drains it; has the operator's command restart it; waits until it is
//! back and has its leaderships again. It stops at the first node that does not
//! come back: the next turn would be the outage. How a process is restarted is
//! not its business.

mod order;
mod show;
mod turn;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use datanode_client::proto::Node;
use datanode_client::{AdminClient, Bytes, ClientConfig, RequestId};
use serde::Serialize;

use super::connect::AdminArgs;
use super::nodes;
use crate::output::{Output, Rows, millis};
use crate::{Exit, Failure};

use show::Show;
use turn::{Step, Turn};

/// How long one question to a node may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Arguments of `datanode roll`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command that restarts a node, for `sh -c`: {id}, {admin}, {client} and
    /// {peer} stand for the node's id and addresses, and are in its environment as
    /// DATANODE_NODE_ID, DATANODE_NODE_ADMIN, DATANODE_NODE_CLIENT and
    /// DATANODE_NODE_PEER. The node is drained by then.
    #[arg(long, value_name = "COMMAND")]
    exec: String,
    /// These nodes only, in this order; else all, in the order of their ids.
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    only: Vec<u64>,
    /// How long each step of a turn may take: to be spared, to drain, to restart,
    /// to be ready.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    timeout: humantime::Duration,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: Output,
}

/// What became of a node.
#[derive(Debug, Clone, Serialize)]
struct Row {
    node_id: u64,
    endpoint: String,
    /// `pending`, the step it is in or stopped at, or `done`.
    state: &'static str,
    /// Partitions it led before, and leads after.
    led_before: Option<u64>,
    led_after: Option<u64>,
    /// Until it might stop; until it was drained; from the command to ready; until
    /// its leaderships were back.
    wait_ms: Option<f64>,
    drain_ms: Option<f64>,
    restart_ms: Option<f64>,
    hand_back_ms: Option<f64>,
    error: Option<String>,
}

/// Restarts one node after the other.
///
/// # Errors
/// [`Failure`] that says where it stands, at the first node that may not stop or
/// does not come back.
pub async fn run(args: Args) -> Result<(), Failure> {
    let known = nodes::known(&args.admin.client(ANSWER_WITHIN)?).await?;
    let nodes = chosen(&known, &args.only)?;
    let addresses = known.values().map(|node| node.admin_address.as_str());
    let anybody = client(addresses)?;
    let mut rows: Vec<Row> = nodes.iter().map(Row::of).collect();
    let show = Show::new(&rows);
    let mut stopped = None;
    for (at, node) in nodes.iter().enumerate() {
        let mut turn = Turn {
            node,
            exec: &args.exec,
            timeout: *args.timeout,
            itself: client([node.admin_address.as_str()])?,
            anybody: anybody.clone(),
            row: &mut rows[at],
            show: &show,
            at,
            token: Bytes::copy_from_slice(RequestId::random().as_bytes()),
        };
        let taken = tokio::select! {
            taken = turn.take() => taken,
            signal = tokio::signal::ctrl_c() => match signal {
                Ok(()) => Err("interrupted".to_owned()),
                Err(error) => Err(format!("no signal is heard: {error}")),
            },
        };
        turn.give_token_back().await;
        if let Err(why) = taken {
            let step = Step::named(rows[at].state);
            rows[at].error = Some(why.clone());
            stopped = Some(anyhow!("{}", where_it_stands(&nodes, at, step, &why)));
            break;
        }
    }
    show.finish();
    args.output.print(&rows, |rows| table(rows))?;
    stopped.map_or(Ok(()), |error| Err(Failure::new(Exit::Failed, error)))
}

/// The nodes to restart, in order.
fn chosen(known: &BTreeMap<u64, Node>, only: &[u64]) -> Result<Vec<Node>, Failure> {
    let ids: Vec<u64> = if only.is_empty() { known.keys().copied().collect() } else { only.into() };
    let mut chosen: Vec<Node> = Vec::new();
    for id in ids {
        let node = known.get(&id).ok_or_else(|| {
            let all = known.keys().map(u64::to_string).collect::<Vec<_>>().join(", ");
            Failure::usage(format!("there is no node {id}: the nodes are {all}"))
        })?;
        if node.admin_address.is_empty() {
            return Err(Failure::usage(format!("node {id} tells no admin address")));
        }
        if chosen.iter().any(|other| other.node_id == id) {
            return Err(Failure::usage(format!("node {id} is named twice")));
        }
        chosen.push(node.clone());
    }
    Ok(chosen)
}

fn client<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Result<AdminClient, Failure> {
    let addresses = addresses.into_iter().filter(|address| !address.is_empty());
    let config = ClientConfig { timeout: ANSWER_WITHIN, ..ClientConfig::default() };
    Ok(AdminClient::new(addresses, config)?)
}

/// What happened, how things are now, and how to go on.
fn where_it_stands(nodes: &[Node], at: usize, step: Step, why: &str) -> String {
    let (id, admin) = (nodes[at].node_id, &nodes[at].admin_address);
    let now = match step {
        Step::Pending | Step::Wait => "nothing was done to it".to_owned(),
        Step::Drain => format!(
            "it may be drained; `datanode drain --undo --endpoints {admin}` takes it back into service"
        ),
        Step::Restart => format!(
            "it is drained or down; bring it up, or take it back with \
             `datanode drain --undo --endpoints {admin}`"
        ),
        Step::HandBack | Step::Done => "it is restarted and serves".to_owned(),
    };
    let next = if step >= Step::HandBack { at + 1 } else { at };
    let left: Vec<String> = nodes[next..].iter().map(|node| node.node_id.to_string()).collect();
    let go_on = match left.is_empty() {
        true => String::new(),
        false => format!(", then go on with `--only {}`", left.join(",")),
    };
    format!("stopped at node {id} ({}): {why}; {now}{go_on}", step.name())
}

impl Row {
    fn of(node: &Node) -> Self {
        Self {
            node_id: node.node_id,
            endpoint: node.admin_address.clone(),
            state: Step::Pending.name(),
            led_before: None,
            led_after: None,
            wait_ms: None,
            drain_ms: None,
            restart_ms: None,
            hand_back_ms: None,
            error: None,
        }
    }
}

fn table(rows: &[Row]) -> Rows {
    let mut table = Rows::new(&[
        "NODE",
        "ENDPOINT",
        "STATE",
        ">LED",
        ">LEADS",
        ">WAITED",
        ">DRAINED",
        ">RESTARTED",
        ">HANDED BACK",
    ]);
    let count = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
    let time = |ms: Option<f64>| ms.map_or_else(String::new, millis);
    for row in rows {
        table.push([
            row.node_id.to_string(),
            row.endpoint.clone(),
            row.state.to_owned(),
            count(row.led_before),
            count(row.led_after),
            time(row.wait_ms),
            time(row.drain_ms),
            time(row.restart_ms),
            time(row.hand_back_ms),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node_id: u64) -> Node {
        Node { node_id, admin_address: format!("n{node_id}:1"), ..Node::default() }
    }

    #[test]
    fn only_known_nodes_once_and_in_the_order_given() {
        let known: BTreeMap<u64, Node> = [1, 2, 5].map(|id| (id, node(id))).into();
        let check = |only: &[u64], expected: Result<&[u64], &str>| {
            let chosen = chosen(&known, only).map_err(|failure| failure.to_string());
            let ids = chosen.map(|nodes| nodes.iter().map(|n| n.node_id).collect::<Vec<_>>());
            assert_eq!(ids, expected.map(<[u64]>::to_vec).map_err(str::to_owned), "{only:?}");
        };
        check(&[], Ok(&[1, 2, 5]));
        check(&[5, 1], Ok(&[5, 1]));
        check(&[3], Err("there is no node 3: the nodes are 1, 2, 5"));
        check(&[1, 1], Err("node 1 is named twice"));
    }

    #[test]
    fn says_how_to_go_on() {
        let nodes = [1, 2, 3].map(node);
        let check = |at, step, words: &[&str]| {
            let text = where_it_stands(&nodes, at, step, "because");
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        check(0, Step::Wait, &["node 1 (wait): because", "nothing was done", "--only 1,2,3`"]);
        check(1, Step::Drain, &["drain --undo --endpoints n2:1`", "--only 2,3`"]);
        check(1, Step::Restart, &["bring it up", "--only 2,3`"]);
        check(1, Step::HandBack, &["serves", "--only 3`"]);
        assert!(!where_it_stands(&nodes, 2, Step::HandBack, "because").contains("--only"));
    }
}
