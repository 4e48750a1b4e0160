//! The operator's command that restarts a node.

use std::process::Stdio;

use datanode_client::proto::Node;
use tokio::process::Command;

/// Runs the command for a node; what it prints goes to stderr. Why it failed, if
/// it did.
///
/// # Cancel safety
/// Dropped half-way, the shell is ended.
pub(super) async fn run(exec: &str, node: &Node) -> Result<(), String> {
    let values = values(node)?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(filled_in(exec, &values));
    command.envs(values.iter().map(|value| (value.variable, &value.text)));
    command.stdin(Stdio::null()).stdout(std::io::stderr()).kill_on_drop(true);
    let ended = command.status().await.map_err(|error| format!("start the command: {error}"))?;
    match ended.success() {
        true => Ok(()),
        false => Err(format!("the command failed: {ended}")),
    }
}

/// Something of the node that the command may need.
struct Value {
    placeholder: &'static str,
    variable: &'static str,
    text: String,
}

/// What the node says of itself becomes part of a shell's command: an address
/// that is more than an address is refused.
fn values(node: &Node) -> Result<[Value; 4], String> {
    let value = |placeholder, variable, text: &str| {
        let harmless = |c: char| c.is_ascii_alphanumeric() || ".:-_[]%".contains(c);
        match text.chars().all(harmless) {
            true => Ok(Value { placeholder, variable, text: text.to_owned() }),
            false => Err(format!("node {} tells an address that is none: {text:?}", node.node_id)),
        }
    };
    Ok([
        value("{id}", "DATANODE_NODE_ID", &node.node_id.to_string())?,
        value("{admin}", "DATANODE_NODE_ADMIN", &node.admin_address)?,
        value("{client}", "DATANODE_NODE_CLIENT", &node.client_address)?,
        value("{peer}", "DATANODE_NODE_PEER", &node.peer_address)?,
    ])
}

fn filled_in(exec: &str, values: &[Value]) -> String {
    values.iter().fold(exec.to_owned(), |text, value| text.replace(value.placeholder, &value.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(admin_address: &str) -> Node {
        Node {
            node_id: 7,
            admin_address: admin_address.to_owned(),
            client_address: "c:1".to_owned(),
            peer_address: "p:2".to_owned(),
            ..Node::default()
        }
    }

    #[test]
    fn knows_the_node() {
        let values = values(&node("10.0.0.7:17320")).expect("an address");
        let text = filled_in("ssh n{id} restart {admin} {client} {peer} ${HOME} {id}", &values);
        assert_eq!(text, "ssh n7 restart 10.0.0.7:17320 c:1 p:2 ${HOME} 7");
    }

    #[test]
    fn an_address_is_no_command() {
        for good in ["node-7.example:17320", "[::1]:17320", "[fe80::1%eth0]:1", ""] {
            assert!(values(&node(good)).is_ok(), "{good}");
        }
        for bad in ["x; reboot", "$(reboot)", "a`b`", "a b", "a\nb", "a'b", "a&b", "a|b"] {
            assert!(values(&node(bad)).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn runs_it_and_says_how_it_ended() {
        let run = |exec| async move { run(exec, &node("a:1")).await };
        assert_eq!(run("test {id}-$DATANODE_NODE_CLIENT = 7-c:1").await, Ok(()));
        let failed = run("exit 3").await.expect_err("it fails");
        assert!(failed.contains("exit status: 3"), "{failed}");
    }
}
