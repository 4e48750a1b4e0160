//! Configuration: every mistake names its place and what to do.

use std::path::PathBuf;

use datanode_bin::config::{Config, Sources};

struct Given<'a> {
    file: Option<&'a str>,
    env: &'a [(&'a str, &'a str)],
    set: &'a [&'a str],
}

const NOTHING: Given<'_> = Given { file: None, env: &[], set: &[] };

/// Key, value and origin of each setting.
type Origins = Vec<(String, String, String)>;

/// What comes out: the configuration, or the error with the directory cut off.
fn load(given: &Given<'_>) -> Result<(Config, Origins), String> {
    let dir = tempfile::tempdir().unwrap();
    let file = given.file.map(|text| {
        let path: PathBuf = dir.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        path
    });
    let sources = Sources {
        file,
        env: given.env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        set: given.set.iter().map(|s| (*s).to_owned()).collect(),
    };
    let cut = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
    match sources.load() {
        Err(error) => Err(cut(error.to_string())),
        Ok(loaded) => {
            let origins = loaded.origins().into_iter();
            let origins = origins.map(|(k, v, o)| (k, v, cut(o.to_string()))).collect();
            Ok((loaded.config, origins))
        }
    }
}

fn check(given: &Given<'_>, expected: &str) {
    let error = load(given).map(|(config, _)| config).expect_err(expected);
    assert_eq!(error.trim(), expected.trim_matches('\n'));
}

fn check_file(file: &str, expected: &str) {
    check(&Given { file: Some(file), ..NOTHING }, expected);
}

#[test]
fn a_mistake_in_the_file_has_a_line_a_caret_and_advice() {
    check_file(
        "node_id = 3\n[listen]\nclent = \"127.0.0.1:1\"\n",
        r#"
node.toml:3:1: unknown key `clent`
  |
3 | clent = "127.0.0.1:1"
  | ^^^^^
  = did you mean `listen.client`? `datanode config default` lists every key"#,
    );
    check_file(
        "[raft]\nheartbeat_interval = 500\n",
        r#"
node.toml:2:22: raft.heartbeat_interval: invalid type: integer `500`, expected a time with its unit, such as "500ms" or "30s"
  |
2 | heartbeat_interval = 500
  |                      ^^^
  = an example: heartbeat_interval = "500ms" in [raft]"#,
    );
    check_file(
        "# ünïcode\n[[disk]]\npath = \"a\"\nreserve = \"viel\" # ü\n",
        r#"
node.toml:4:11: disk.0.reserve: "viel" is no size: write it like "512MiB" or "1GiB"
  |
4 | reserve = "viel" # ü
  |           ^^^^^^
  = an example: reserve = "1GiB" in [[disk]]"#,
    );
    check_file(
        "[startup]\npolicy = \"lax\"\n",
        r#"
node.toml:2:10: startup.policy: unknown value `lax`, expected `quarantine` or `strict`
  |
2 | policy = "lax"
  |          ^^^^^
  = an example: policy = "quarantine" in [startup]"#,
    );
    check_file(
        "[listen]\nclient = \"127.0.0.1:1\n",
        r#"
node.toml:2:22: invalid basic string, expected `"`
  |
2 | client = "127.0.0.1:1
  |                      ^"#,
    );
    check_file(
        "node_id = 0\n",
        r"
node.toml:1:11: node_id must be above 0
  |
1 | node_id = 0
  |           ^
  = an example: node_id = 1",
    );
}

#[test]
fn values_that_do_not_go_together_are_all_named_where_they_stand() {
    check_file(
        "[listen]\nclient = \"0.0.0.0:17320\"\n\n[[disk]]\npath = \"/a\"\n\n[[disk]]\npath = \"/a\"\n",
        r#"
node.toml:2:10: listen.admin (127.0.0.1:17320) takes the same port as listen.client (0.0.0.0:17320)
  |
2 | client = "0.0.0.0:17320"
  |          ^^^^^^^^^^^^^^^
  = give each of the three a port of its own

node.toml:8:8: disk.1.path (/a) is there twice
  |
8 | path = "/a"
  |        ^^^^
  = give each [[disk]] a directory of its own"#,
    );
    check_file(
        "[raft]\nheartbeat_interval = \"5s\"\n",
        r#"
node.toml:2:22: raft.election_timeout begins at 2s, less than twice the heartbeat interval (5s)
  |
2 | heartbeat_interval = "5s"
  |                      ^^^^
  = one late heartbeat would start an election: use at least twice, better four times"#,
    );
}

#[test]
fn each_rule_of_validation_is_there() {
    for (set, message) in [
        ("listen.peer=127.0.0.1:0", "listen.peer has port 0"),
        ("listen.peer=[::]:17310", "listen.peer ([::]:17310) takes the same port as listen.client"),
        ("seeds=10.0.0.1:17330,nowhere", "seeds.1 is \"nowhere\", which is no host and port"),
        (
            "advertise.peer=http://x:1",
            "advertise.peer is \"http://x:1\", which is no host and port",
        ),
        ("disk=[]", "disk is empty"),
        ("disk.1.path=datanode-data/.", "disk.1.path"),
        ("raft.heartbeat_interval=1ms", "raft.heartbeat_interval (1ms) is below 10ms"),
        ("raft.election_timeout=4s,2s", "raft.election_timeout ends at 2s"),
        ("limits.max_message=65MiB", "limits.max_message (65MiB) is not from 64KiB to 64MiB"),
        ("limits.request_timeout=0s", "limits.request_timeout is zero"),
        ("startup.load_concurrency=2000", "startup.load_concurrency (2000) is above 1024"),
        ("raft.hibernate_after=400ms", "raft.hibernate_after (400ms) is below the heartbeat"),
        ("raft.hand_back_rate=20000", "raft.hand_back_rate (20000) is above 10000"),
        ("startup.activation=on-demand", ""),
        ("raft.unload_after=1ms", "raft.unload_after (1ms) is below 100ms"),
        ("tls.client.cert=/x.pem", "tls.client has certificates, and TLS is not available"),
        ("log.level=a=b=c", "log.level is \"a=b=c\", which is no level"),
        ("cluster_id=a b", "cluster_id may only have letters"),
        ("startup.max_quarantined=11%", ""),
    ] {
        let loaded = load(&Given { set: &[set], ..NOTHING });
        match (loaded, message) {
            (Ok(_), "") => {}
            (Ok(_), _) => panic!("{set} was taken"),
            (Err(error), _) => {
                assert!(error.starts_with(&format!("--set {set}: ")), "{error}");
                assert!(!message.is_empty() && error.contains(message), "{error}");
            }
        }
    }
}

#[test]
fn an_unspecified_address_needs_one_that_others_can_dial() {
    let seeds = "seeds=10.0.0.1:17330";
    let given = Given { set: &[seeds, "listen.peer=0.0.0.0:17330"], ..NOTHING };
    let error = load(&given).expect_err("nobody can dial 0.0.0.0");
    assert!(error.contains("advertise.peer is missing: nobody can dial 0.0.0.0:17330"), "{error}");
    let advertise = "advertise.peer=10.0.0.5:17330";
    load(&Given { set: &[seeds, "listen.peer=0.0.0.0:17330", advertise], ..NOTHING }).unwrap();
}

#[test]
fn layers_are_default_file_environment_and_set() {
    let (config, origins) = load(&Given {
        file: Some("node_id = 2\n[listen]\nclient = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:2\"\n"),
        env: &[
            ("DATANODE__LISTEN__ADMIN", "127.0.0.1:22"),
            ("DATANODE__NODE_ID", "4"),
            ("DATANODE__CLUSTER_ID", "5"),
            ("DATANODE__DISK__0__PATH", "/data"),
            ("DATANODE_ENDPOINTS", "not ours"),
        ],
        set: &["node_id=5", "seeds=a:1, b:2", "raft.election_timeout=[\"3s\", \"6s\"]"],
    })
    .unwrap();
    assert_eq!(config.node_id.get(), 5);
    assert_eq!(config.cluster_id.as_str(), "5");
    assert_eq!(config.seeds, ["a:1", "b:2"]);
    assert_eq!(config.listen.client.port(), 1);
    assert_eq!(config.listen.admin.port(), 22);
    assert_eq!(config.listen.peer.port(), 17330);
    assert_eq!(config.disk[0].path, PathBuf::from("/data"));
    assert_eq!(config.disk[0].reserve, Config::default().disk[0].reserve);
    for (key, value, origin) in [
        ("node_id", "5", "--set"),
        ("cluster_id", "\"5\"", "DATANODE__CLUSTER_ID"),
        ("listen.client", "\"127.0.0.1:1\"", "node.toml:3:10"),
        ("listen.admin", "\"127.0.0.1:22\"", "DATANODE__LISTEN__ADMIN"),
        ("listen.peer", "\"127.0.0.1:17330\"", "default"),
        ("disk.0.path", "\"/data\"", "DATANODE__DISK__0__PATH"),
        ("raft.election_timeout", "[\"3s\", \"6s\"]", "--set"),
    ] {
        let row = (key.to_owned(), value.to_owned(), origin.to_owned());
        assert!(origins.contains(&row), "{row:?} not in {origins:#?}");
    }
}

#[test]
fn mistakes_in_environment_and_arguments_name_their_source() {
    let env = Given { env: &[("DATANODE__LISTN__X", "1")], ..NOTHING };
    check(
        &env,
        "DATANODE__LISTN__X: unknown key `listn`\n  = did you mean `listen`? `datanode config default` lists every key",
    );
    check(
        &Given { set: &["log.level"], ..NOTHING },
        "--set log.level: has no value\n  = write --set KEY=VALUE, as in --set log.level=debug",
    );
    let set = Given { set: &["node_id=many"], ..NOTHING };
    let error = load(&set).expect_err("no number");
    assert!(error.starts_with("--set node_id=many: "), "{error}");
}

#[test]
fn a_file_that_is_not_there_says_how_to_make_one() {
    let sources = Sources { file: Some("/nowhere/node.toml".into()), ..Sources::default() };
    let error = sources.load().expect_err("there is no such file").to_string();
    assert!(error.starts_with("cannot read /nowhere/node.toml: "), "{error}");
    assert!(error.contains("`datanode config default`"), "{error}");
}
