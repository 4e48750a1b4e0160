//! Every key in words: one table makes the commented template, the JSON
//! schema, and the advice in error messages.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A table of the file.
struct Section {
    /// Empty for the top of the file.
    name: &'static str,
    /// An array of tables.
    repeated: bool,
    doc: &'static str,
    keys: &'static [Key],
}

/// One key of a section.
struct Key {
    name: &'static str,
    kind: Kind,
    /// As TOML; of an optional key an example, shown commented out.
    value: &'static str,
    optional: bool,
    doc: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Size,
    Time,
    Times,
    Share,
    List,
    Words(&'static [&'static str]),
}

const fn key(name: &'static str, kind: Kind, value: &'static str, doc: &'static str) -> Key {
    Key { name, kind, value, optional: false, doc }
}

const fn optional(name: &'static str, value: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Text, value, optional: true, doc }
}

const TLS_KEYS: &[Key] = &[
    optional("cert", "\"/etc/datanode/tls/node.pem\"", "Certificate chain, PEM."),
    optional("key", "\"/etc/datanode/tls/node.key\"", "Its private key, PEM."),
    optional("ca", "\"/etc/datanode/tls/ca.pem\"", "Who signs the other side's certificate, PEM."),
];

const SECTIONS: &[Section] = &[
    Section {
        name: "",
        repeated: false,
        doc: "",
        keys: &[
            key(
                "cluster_id",
                Kind::Text,
                "\"default\"",
                "The cluster this node belongs to. A data directory of another cluster is refused.",
            ),
            key(
                "node_id",
                Kind::Number,
                "1",
                "Above 0, unique in the cluster, and never used again for another node.",
            ),
            key(
                "seeds",
                Kind::List,
                "[]",
                "Peer addresses (host:port) of a few other nodes; the rest is learned from them.",
            ),
        ],
    },
    Section {
        name: "listen",
        repeated: false,
        doc: "Where the ports listen: IP address and port. admin opens first, peer while the node\n\
              loads, client last, when every partition is ready.",
        keys: &[
            key("client", Kind::Text, "\"127.0.0.1:17310\"", "The data service (gRPC)."),
            key(
                "admin",
                Kind::Text,
                "\"127.0.0.1:17320\"",
                "Metrics, health, start-up report, administration (HTTP and gRPC).",
            ),
            key("peer", Kind::Text, "\"127.0.0.1:17330\"", "The other nodes (gRPC)."),
        ],
    },
    Section {
        name: "advertise",
        repeated: false,
        doc: "What others dial (host:port); each defaults to its address in [listen].",
        keys: &[
            optional("client", "\"10.0.0.5:17310\"", "For clients."),
            optional("admin", "\"10.0.0.5:17320\"", "For operators."),
            optional("peer", "\"10.0.0.5:17330\"", "For the other nodes."),
        ],
    },
    Section {
        name: "disk",
        repeated: true,
        doc: "A data directory; one or more. A partition lives on one disk.",
        keys: &[
            key(
                "path",
                Kind::Text,
                "\"./datanode-data\"",
                "The directory, made when it is missing. A relative path starts where the node is started.",
            ),
            key(
                "reserve",
                Kind::Size,
                "\"1GiB\"",
                "Free space below which writes are answered DISK_FULL; deleting still works.",
            ),
        ],
    },
    Section {
        name: "startup",
        repeated: false,
        doc: "How the node starts: load, check, elect, listen.",
        keys: &[
            key(
                "policy",
                Kind::Words(&["quarantine", "strict"]),
                "\"quarantine\"",
                "A bad partition is set aside and named (quarantine), or keeps the port closed (strict).",
            ),
            key(
                "activation",
                Kind::Words(&["eager", "on-demand"]),
                "\"eager\"",
                "Which partitions are in memory: all, with a verified leader each before the port opens\n\
                 (eager); or those that lead or are used (on-demand): others cost a few KiB and come\n\
                 up within milliseconds when asked for. All are loaded and checked before the port\n\
                 opens either way. Where this line is left out, a node that starts with 2000 partitions\n\
                 or more takes on-demand, and says so; one with fewer is eager, for its first requests\n\
                 are fastest. On-demand is not possible with policy strict.",
            ),
            key(
                "verify",
                Kind::Words(&["none", "sample", "full"]),
                "\"sample\"",
                "How much of the stored data is verified: none (metadata only), sample, full.",
            ),
            key(
                "load_concurrency",
                Kind::Number,
                "0",
                "Partitions loaded at once; 0: by cores and disks. At most 1024.",
            ),
            key(
                "elect_timeout",
                Kind::Time,
                "\"30s\"",
                "A partition without a verified leader for so long is waived: the port opens without it.",
            ),
            key(
                "stall_timeout",
                Kind::Time,
                "\"60s\"",
                "No progress at all for so long is a stall.",
            ),
            key(
                "max_quarantined",
                Kind::Share,
                "\"10%\"",
                "More than this share quarantined: the start refuses, unless --accept-degraded.",
            ),
        ],
    },
    Section {
        name: "shutdown",
        repeated: false,
        doc: "How the node goes down, on SIGTERM or SIGINT.",
        keys: &[
            key(
                "notice",
                Kind::Time,
                "\"0s\"",
                "Time between \"not ready\" and the first step, for load balancers to notice.",
            ),
            key(
                "timeout",
                Kind::Time,
                "\"30s\"",
                "The rest of the way down; then the node stops at once and still loses nothing.",
            ),
        ],
    },
    Section {
        name: "raft",
        repeated: false,
        doc: "The clocks of consensus; the same on every node.",
        keys: &[
            key(
                "heartbeat_interval",
                Kind::Time,
                "\"500ms\"",
                "How often a leader is heard of. At least 10ms.",
            ),
            key(
                "election_timeout",
                Kind::Times,
                "[\"2s\", \"4s\"]",
                "Without a leader for a random time between the two, a replica campaigns. The first\n\
                 is at least twice the heartbeat interval.",
            ),
            key(
                "hibernate_after",
                Kind::Time,
                "\"5s\"",
                "A partition that nobody uses for so long sleeps: no heartbeats, no timers; it wakes\n\
                 on the first request. At least the heartbeat interval; 0s: none ever.",
            ),
            key(
                "unload_after",
                Kind::Time,
                "\"60s\"",
                "With startup.activation on-demand: a partition that slept here for so long, and is\n\
                 led elsewhere, leaves memory. At least 100ms.",
            ),
            key(
                "hand_back_rate",
                Kind::Number,
                "100",
                "Leaderships a second that this node gives back to nodes that returned and are to have\n\
                 them (the first replica of a partition). At most 10000; 0: they stay where they are.",
            ),
        ],
    },
    Section {
        name: "limits",
        repeated: false,
        doc: "Limits of one request.",
        keys: &[
            key(
                "max_message",
                Kind::Size,
                "\"4MiB\"",
                "The largest data of one message, from 64KiB to 64MiB; larger files are streamed.",
            ),
            key(
                "request_timeout",
                Kind::Time,
                "\"10s\"",
                "The longest a request may take when its caller sets no deadline.",
            ),
        ],
    },
    Section {
        name: "tls.client",
        repeated: false,
        doc: "Certificates of the client port.",
        keys: TLS_KEYS,
    },
    Section {
        name: "tls.admin",
        repeated: false,
        doc: "Certificates of the admin port.",
        keys: TLS_KEYS,
    },
    Section {
        name: "tls.peer",
        repeated: false,
        doc: "Certificates of the peer port.",
        keys: TLS_KEYS,
    },
    Section {
        name: "log",
        repeated: false,
        doc: "The log goes to stderr.",
        keys: &[
            key("format", Kind::Words(&["pretty", "json"]), "\"pretty\"", "pretty or json."),
            key(
                "level",
                Kind::Text,
                "\"info\"",
                "error, warn, info, debug, trace; or per part: \"info,raft_glue=debug\".",
            ),
        ],
    },
];

/// A configuration file with every key at its default, and what it means.
#[must_use]
pub fn template() -> String {
    let mut text =
        String::from("# Configuration of a datanode. Every key is shown with its default.\n");
    let comment = |text: &mut String, doc: &str| {
        for line in doc.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# {line}");
        }
    };
    for section in SECTIONS {
        text.push('\n');
        comment(&mut text, section.doc);
        let _ = match (section.name, section.repeated) {
            ("", _) => Ok(()),
            (name, true) => writeln!(text, "[[{name}]]"),
            (name, false) => writeln!(text, "[{name}]"),
        };
        for key in section.keys {
            comment(&mut text, key.doc);
            let hash = if key.optional { "# " } else { "" };
            let _ = writeln!(text, "{hash}{} = {}", key.name, key.value);
        }
    }
    text
}

/// The JSON schema of the file, for editors.
#[must_use]
pub fn schema() -> Value {
    let mut root = Map::new();
    for section in SECTIONS {
        let properties: Map<String, Value> =
            section.keys.iter().map(|key| (key.name.to_owned(), key.schema())).collect();
        if section.name.is_empty() {
            root.extend(properties);
            continue;
        }
        let mut table = json!({
            "type": "object",
            "description": section.doc,
            "properties": properties,
            "additionalProperties": false,
        });
        if section.repeated {
            table = json!({ "type": "array", "minItems": 1, "items": table });
        }
        match section.name.split_once('.') {
            None => {
                root.insert(section.name.to_owned(), table);
            }
            Some((outer, inner)) => {
                let outer = root.entry(outer).or_insert_with(
                    || json!({ "type": "object", "properties": {}, "additionalProperties": false }),
                );
                outer["properties"][inner] = table;
            }
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a datanode",
        "type": "object",
        "properties": root,
        "additionalProperties": false,
    })
}

impl Key {
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text | Kind::Time | Kind::Share => json!({ "type": "string" }),
            Kind::Size => json!({ "type": ["string", "integer"] }),
            Kind::Number => json!({ "type": "integer", "minimum": 0 }),
            Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
            Kind::Times => json!({
                "type": "array", "items": { "type": "string" }, "minItems": 2, "maxItems": 2,
            }),
            Kind::Words(words) => json!({ "enum": words }),
        };
        schema["description"] = self.doc.into();
        schema
    }
}

/// How the key of `path` (`disk.0.path`) is written, as an example.
pub(super) fn example(path: &str) -> Option<String> {
    let (section, key) = find(path)?;
    Some(match section.name {
        "" => format!("{} = {}", key.name, key.value),
        name if section.repeated => format!("{} = {} in [[{name}]]", key.name, key.value),
        name => format!("{} = {} in [{name}]", key.name, key.value),
    })
}

/// The known key that the last part of `path` is most likely meant to be: a
/// near miss, in the same table if there is one, or the right name elsewhere.
pub(super) fn suggestion(path: &str) -> Option<String> {
    let (table, name) = split(path);
    let sections = SECTIONS.iter().filter(|s| !s.name.is_empty()).map(|s| ("", s.name));
    let keys = SECTIONS.iter().flat_map(|s| s.keys.iter().map(move |k| (s.name, k.name)));
    keys.chain(sections)
        .map(|(section, known)| (distance(name, known), section != table, section, known))
        .min()
        .filter(|(distance, ..)| *distance <= name.len().div_ceil(3))
        .map(|(_, _, section, known)| match section {
            "" => known.to_owned(),
            section => format!("{section}.{known}"),
        })
}

/// Table and name of a path; "disk.0" is the table "disk".
fn split(path: &str) -> (&str, &str) {
    let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
    (table.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.'), name)
}

fn find(path: &str) -> Option<(&'static Section, &'static Key)> {
    let (table, name) = split(path);
    let section = SECTIONS.iter().find(|section| section.name == table)?;
    section.keys.iter().find(|key| key.name == name).map(|key| (section, key))
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Position of a path in the template, to list keys in its order.
pub(super) fn order(path: &str) -> usize {
    let paths = SECTIONS.iter().flat_map(|s| s.keys.iter().map(move |k| (s.name, k.name)));
    let wanted = find(path).map(|(section, key)| (section.name, key.name));
    paths.enumerate().find(|(_, p)| Some(*p) == wanted).map_or(usize::MAX, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn the_template_is_the_default() {
        let parsed: Config = toml::from_str(&template()).expect("the template parses");
        assert_eq!(parsed, Config::default());
    }

    #[test]
    fn every_key_of_the_template_is_known_also_the_optional_ones() {
        // The commented ones are examples: they must parse when taken as they are.
        let all: String = template()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") && rest.ends_with('"') => rest,
                _ => line,
            })
            .fold(String::new(), |text, line| text + line + "\n");
        let parsed: Config = toml::from_str(&all).expect("with the optional keys it parses");
        assert_eq!(parsed.advertise.client.as_deref(), Some("10.0.0.5:17310"));
        assert!(parsed.tls.peer.ca.is_some());
    }

    #[test]
    fn suggests_what_was_meant() {
        for (typed, meant) in [
            ("listen.clent", Some("listen.client")),
            ("advertise.clent", Some("advertise.client")),
            ("disk.0.reserv", Some("disk.reserve")),
            ("startup.election_timout", Some("raft.election_timeout")),
            ("disks", Some("disk")),
            ("colour", None),
        ] {
            assert_eq!(suggestion(typed).as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn the_schema_names_every_section() {
        let schema = schema();
        assert_eq!(schema["properties"]["raft"]["properties"]["election_timeout"]["minItems"], 2);
        assert_eq!(schema["properties"]["disk"]["items"]["properties"]["path"]["type"], "string");
        assert!(schema["properties"]["tls"]["properties"]["peer"]["properties"]["ca"].is_object());
    }
}
