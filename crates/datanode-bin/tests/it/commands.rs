//! The subcommands against a cluster: what they print, and how they end.

use std::fs;

use crate::fixture::{Nodes, eventually, json, run};

/// Nobody listens here.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_come_out() {
    let nodes = Nodes::three(3).await;
    let clients = nodes.clients();
    let endpoints = ["--endpoints", clients.as_str()];
    for (name, len) in [("empty", 0), ("small", 1000), ("limit", 1 << 20), ("large", 3_000_001)] {
        let content: Vec<u8> = (0..len).map(|at: u32| (at * 17 % 249) as u8).collect();
        let (file, back) = (nodes.dir().join(name), nodes.dir().join("back"));
        fs::write(&file, &content).unwrap();
        let put = json(&[&["extent", "put", file.to_str().unwrap()], &endpoints[..]].concat());
        let (partition, extent) =
            (put[0]["partition_id"].to_string(), put[0]["extent_id"].to_string());
        assert_eq!(put[0]["size"], len);
        let id = [partition.as_str(), extent.as_str()];
        let to = ["--to", back.to_str().unwrap()];
        let get = run(&[&["extent", "get"], &id[..], &to, &endpoints].concat());
        assert_eq!((get.code, get.stderr.as_str()), (0, ""));
        assert!(fs::read(&back).unwrap() == content, "{name} is not what it was");
        let range = ["--offset", "0", "--length", "10"];
        let get = run(&[&["extent", "get"], &id[..], &range, &endpoints].concat());
        assert_eq!(get.stdout, content[..content.len().min(10)]);
        let stat = json(&[&["extent", "stat"], &id[..], &endpoints].concat());
        assert_eq!((&stat[0]["crc32c"], &stat[0]["sealed"]), (&put[0]["crc32c"], &true.into()));
        let list = json(&[&["extent", "list", &partition], &endpoints[..]].concat());
        assert!(list.as_array().unwrap().contains(&stat[0]));
        let deleted = json(&[&["extent", "delete"], &id[..], &endpoints].concat());
        assert_eq!(deleted[0]["deleted"], true);
        let gone = run(&[&["extent", "get"], &id[..], &endpoints].concat());
        assert_eq!((gone.code, gone.stdout.as_slice()), (1, &b""[..]));
        assert!(gone.stderr.contains("EXTENT_NOT_FOUND"), "{}", gone.stderr);
    }
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_moved_checked_and_dropped() {
    let nodes = Nodes::three(0).await;
    let admins = nodes.admins();
    let partition =
        |arguments: &[&str]| json(&[&["partition"], arguments, &["--endpoints", &admins]].concat());
    let created = partition(&["create", "--count", "6"]);
    let leaders = |column: &str| {
        let mut count = [0; 4];
        for row in partition(&["list"]).as_array().unwrap() {
            assert_eq!(row["voters"].as_array().unwrap().len(), 3, "{row}");
            count[row[column].as_u64().unwrap() as usize] += 1;
        }
        count
    };
    assert_eq!(created.as_array().unwrap().len(), 6);
    eventually("two leaders on each node", || leaders("leader_node_id") == [0, 2, 2, 2]).await;

    let leader = partition(&["show", "1"])["leader_node_id"].as_u64().unwrap();
    let to = leader % 3 + 1;
    let moved = partition(&["transfer-leader", "1", "--to", &to.to_string()]);
    assert_eq!(moved["leader_node_id"], to);
    let shown = partition(&["show", "1"]);
    assert_eq!(shown["leader_node_id"], to);
    assert_eq!(shown["replicas"].as_array().unwrap().len(), 3);

    let client = nodes.client();
    let id = datanode_client::PartitionId::new(1).unwrap();
    client.put(id, "some bytes".into()).await.unwrap();
    let sums = partition(&["verify", "1"]);
    assert_eq!(sums.as_array().unwrap().len(), 3);
    for sum in sums.as_array().unwrap() {
        assert_eq!((&sum["matches"], &sum["extent_count"]), (&true.into(), &1.into()), "{sum}");
    }

    let shown = partition(&["remove-replica", "2", "--node", "3"]);
    assert_eq!(shown["voters"], serde_json::json!([1, 2]));
    let shown = partition(&["add-replica", "2", "--node", "3"]);
    assert_eq!(shown["voters"].as_array().unwrap().len(), 3, "{shown}");

    partition(&["delete", "6"]);
    eventually("five partitions", || partition(&["list"]).as_array().unwrap().len() == 5).await;
    let unknown = run(&["partition", "show", "6", "--endpoints", &admins]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("PARTITION_NOT_FOUND"), "{}", unknown.stderr);
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_tell_how_they_are() {
    let mut nodes = Nodes::three(3).await;
    let admins = nodes.admins();
    let first = nodes.cluster.node(1).ports().admin.to_string();
    let each = |endpoints: &str| json(&["status", "--endpoints", endpoints]);
    eventually("three leaders", || {
        let status = each(&admins);
        let rows = status.as_array().unwrap();
        rows.iter().map(|row| row["leaders"].as_u64().unwrap()).sum::<u64>() == 3
    })
    .await;
    let status = each(&first);
    let rows = status.as_array().unwrap();
    assert_eq!(rows.len(), 3, "one node knows the others: {status}");
    for (row, id) in rows.iter().zip(1..) {
        assert_eq!((&row["node_id"], &row["stage"]), (&id.into(), &"serving".into()), "{row}");
        assert_eq!((&row["ready"], &row["partitions_ready"]), (&true.into(), &3.into()), "{row}");
    }
    let report = json(&["startup", "--endpoints", &first]);
    let stages = report["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names[..4], ["load", "check", "elect", "listen"], "{report}");
    assert_eq!(run(&["wait-ready", "--endpoints", &admins]).code, 0);
    assert_eq!(run(&["healthcheck", "--endpoints", &first]).code, 0);

    let drained = json(&["drain", "--wait", "--endpoints", &first]);
    assert_eq!(drained["leaders_after"], 0, "{drained}");
    json(&["drain", "--undo", "--endpoints", &first]);

    nodes.cluster.node_mut(3).kill().unwrap();
    let status = each(&admins);
    assert_eq!(status.as_array().unwrap().len(), 3);
    let gone = status.as_array().unwrap().iter().find(|row| row["reachable"] == false).unwrap();
    assert_eq!(gone["stage"], "unreachable", "{gone}");
    let third = nodes.cluster.node(3).ports().admin.to_string();
    let late = run(&["wait-ready", "--timeout", "1s", "--endpoints", &third]);
    assert_eq!(late.code, 4, "{}", late.stderr);
    nodes.cluster.node_mut(3).spawn().unwrap();
    assert_eq!(run(&["wait-ready", "--endpoints", &third]).code, 0);
    nodes.stop().await;
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let cases: [(&[&str], i32); 9] = [
        (&["status", "--endpoints", NOBODY], 3),
        (&["startup", "--timeout", "300ms", "--endpoints", NOBODY], 3),
        (&["healthcheck", "--timeout", "300ms", "--endpoints", NOBODY], 3),
        (&["extent", "stat", "1", "1", "--timeout", "300ms", "--endpoints", NOBODY], 3),
        (&["wait-ready", "--timeout", "300ms", "--endpoints", NOBODY], 4),
        (&["status", "--endpoints", "nonsense"], 2),
        (&["extent", "stat", "0", "1"], 2),
        (&["partition", "create", "--replicas", "0"], 2),
        (&["no-such-command"], 2),
    ];
    for (arguments, code) in cases {
        let ran = run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{arguments:?} says nothing");
    }
}
