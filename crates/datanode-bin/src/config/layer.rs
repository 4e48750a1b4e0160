//! The layers: default < file < environment < `--set`.
//!
//! The table starts as the file has it; each later value is put in and the
//! whole is read again, so that whatever does not fit is blamed on the value
//! that brought it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::error::{ConfigError, Place, Problem};
use super::place::FilePlace;
use super::{Config, keys};

/// Environment variables of the configuration begin with this; `__` stands for
/// the dot: `DATANODE__LISTEN__CLIENT` is `listen.client`.
pub const ENV_PREFIX: &str = "DATANODE__";

/// Where the value of a key came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file, at a line.
    File(String),
    /// An environment variable.
    Env(String),
    /// An argument `--set`.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => f.write_str(place),
            Self::Env(name) => f.write_str(name),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// The values so far and where each was given.
#[derive(Debug, Default)]
pub(super) struct Layers {
    table: Table,
    places: BTreeMap<String, Place>,
}

/// A problem of validation, named by keys rather than by a place.
#[derive(Debug)]
pub(super) struct KeyProblem {
    /// The keys it is about, the most likely culprit first.
    pub(super) keys: Vec<String>,
    pub(super) message: String,
    pub(super) advice: String,
}

impl Layers {
    pub(super) fn from_file(path: &Path, source: &str) -> Result<Self, ConfigError> {
        let file = File { path: path.to_owned(), source };
        let spanned = DeTable::parse(source).map_err(|error| file.problem(&error, &[]))?;
        let mut spans = Vec::new();
        collect_spans("", spanned.get_ref(), &mut spans);
        // Typed at once, because only here do errors know their place.
        toml::from_str::<Config>(source).map_err(|error| file.problem(&error, &spans))?;
        let table = toml::from_str(source).map_err(|error| file.problem(&error, &spans))?;
        // A table in the file sets nothing but the keys that stand in it.
        let places = spans
            .into_iter()
            .filter(|entry| !entry.is_table)
            .map(|entry| (entry.path, Place::File(file.place(&entry.value))))
            .collect();
        Ok(Self { table, places })
    }

    pub(super) fn apply_env(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let path = name[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        self.apply(&path, value, Place::Env(name.to_owned()))
    }

    pub(super) fn apply_set(&mut self, argument: &str) -> Result<(), ConfigError> {
        let place = Place::Set(argument.to_owned());
        let Some((path, value)) = argument.split_once('=') else {
            let problem = Problem::new("has no value").at(place);
            return Err(problem
                .advise("write --set KEY=VALUE, as in --set log.level=debug")
                .into());
        };
        self.apply(path.trim(), value.trim(), place)
    }

    /// Puts one value in. A text may be TOML (`5`, `["2s", "4s"]`), a plain
    /// string, or a list with commas, whichever fits the key.
    fn apply(&mut self, path: &str, text: &str, place: Place) -> Result<(), ConfigError> {
        let as_toml = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
        let as_list = text.split(',').map(|part| Value::String(part.trim().to_owned())).collect();
        let candidates =
            as_toml.into_iter().chain([Value::String(text.to_owned()), Value::Array(as_list)]);
        let mut first_error = None;
        for value in candidates {
            let mut table = self.table.clone();
            let fits = insert(&mut table, path, value).and_then(|()| {
                Config::deserialize(table.clone()).map_err(|e| e.message().trim().to_owned())
            });
            match fits {
                Ok(_) => {
                    self.table = table;
                    self.places.insert(path.to_owned(), place);
                    return Ok(());
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let message = first_error.expect("there is always a candidate");
        Err(explain(&message, Some(path)).at(place).into())
    }

    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let read = Config::deserialize(self.table.clone());
        read.map_err(|error| explain(error.message(), None).into())
    }

    /// Gives a problem of validation its place: that of the first of its keys
    /// that somebody set.
    pub(super) fn locate(&self, problem: KeyProblem) -> Problem {
        let place = problem.keys.iter().find_map(|key| self.place(key));
        let message = format!("{} {}", problem.keys[0], problem.message);
        let located = Problem::new(message).advise(problem.advice);
        match place {
            Some(place) => located.at(place.clone()),
            None => located,
        }
    }

    /// The place of a key, or of the table or array that was set as a whole.
    fn place(&self, key: &str) -> Option<&Place> {
        let mut key = key;
        loop {
            if let Some(place) = self.places.get(key) {
                return Some(place);
            }
            key = key.rsplit_once('.')?.0;
        }
    }

    pub(super) fn is_default(&self, key: &str) -> bool {
        self.place(key).is_none()
    }

    pub(super) fn origins(&self, config: &Config) -> Vec<(String, String, Origin)> {
        let table = Table::try_from(config).expect("a configuration is a table");
        let mut leaves = Vec::new();
        collect_leaves("", &Value::Table(table), &mut leaves);
        leaves.sort_by_key(|(path, _)| keys::order(path));
        leaves
            .into_iter()
            .map(|(path, value)| {
                let origin = match self.place(&path) {
                    None => Origin::Default,
                    Some(Place::File(place)) => Origin::File(place.to_string()),
                    Some(Place::Env(name)) => Origin::Env(name.clone()),
                    Some(Place::Set(_)) => Origin::Set,
                };
                (path, value, origin)
            })
            .collect()
    }
}

/// A key of the file with the byte ranges of its name and of its value.
struct SpanEntry {
    path: String,
    key: Range<usize>,
    value: Range<usize>,
    is_table: bool,
}

struct File<'a> {
    path: PathBuf,
    source: &'a str,
}

impl File<'_> {
    fn place(&self, span: &Range<usize>) -> FilePlace {
        FilePlace::new(&self.path, self.source, span)
    }

    fn problem(&self, error: &toml::de::Error, spans: &[SpanEntry]) -> Problem {
        let span = error.span().unwrap_or(0..0);
        // The innermost key whose value holds the error says what was expected.
        let key = spans
            .iter()
            .filter(|e| e.value.start <= span.start && span.end <= e.value.end || e.key == span)
            .min_by_key(|e| e.value.len());
        explain(error.message(), key.map(|e| e.path.as_str())).at(Place::File(self.place(&span)))
    }
}

/// Puts what serde and toml say into our words, with advice.
fn explain(message: &str, path: Option<&str>) -> Problem {
    let message = message.trim();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let name = rest.split('`').next().unwrap_or(rest);
        let advice = match keys::suggestion(wrong_path(path, name)) {
            Some(known) => format!("did you mean `{known}`? "),
            None => String::new(),
        };
        return Problem::new(format!("unknown key `{name}`"))
            .advise(format!("{advice}`datanode config default` lists every key"));
    }
    let message = message
        .replace("missing field", "missing key")
        .replace("unknown variant", "unknown value")
        .replace("expected u64", "expected a whole number")
        .replace("expected usize", "expected a whole number")
        .replace("invalid socket address syntax", "expected an IP address and a port");
    let problem = Problem::new(match path {
        Some(path) if !message.contains(path) => format!("{path}: {message}"),
        _ => message,
    });
    match path.and_then(keys::example) {
        Some(example) => problem.advise(format!("an example: {example}")),
        None => problem,
    }
}

/// The path up to and with the unknown name: the rest of it was never looked at.
fn wrong_path<'a>(path: Option<&'a str>, name: &'a str) -> &'a str {
    let Some(path) = path else { return name };
    let mut end = 0;
    for part in path.split('.') {
        end += part.len();
        if part == name {
            return &path[..end];
        }
        end += 1;
    }
    name
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn collect_spans(path: &str, table: &DeTable<'_>, into: &mut Vec<SpanEntry>) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        into.push(SpanEntry {
            path: path.clone(),
            key: key.span(),
            value: value.span(),
            is_table: value.get_ref().is_table(),
        });
        match value.get_ref() {
            DeValue::Table(table) => collect_spans(&path, table, into),
            DeValue::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    collect_item_spans(&join(&path, &i.to_string()), item, into);
                }
            }
            _ => {}
        }
    }
}

fn collect_item_spans(path: &str, item: &Spanned<DeValue<'_>>, into: &mut Vec<SpanEntry>) {
    into.push(SpanEntry {
        path: path.to_owned(),
        key: item.span(),
        value: item.span(),
        is_table: item.get_ref().is_table(),
    });
    if let DeValue::Table(table) = item.get_ref() {
        collect_spans(path, table, into);
    }
}

/// Tables and arrays of tables are taken apart; everything else is a leaf.
fn collect_leaves(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                collect_leaves(&join(path, name), value, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (i, item) in items.iter().enumerate() {
                collect_leaves(&join(path, &i.to_string()), item, into);
            }
        }
        leaf => into.push((path.to_owned(), leaf.to_string())),
    }
}

/// Sets `path` (`raft.heartbeat_interval`, `disk.0.path`) in `table`.
fn insert(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    let (first, rest) = match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
            return Ok(());
        }
        Some(parts) => parts,
    };
    let slot = match table.entry(first) {
        toml::map::Entry::Occupied(slot) => slot.into_mut(),
        // The disks that `disk.0.…` counts on are the default ones when no
        // file names any.
        toml::map::Entry::Vacant(slot) if first == "disk" => {
            let default = Table::try_from(Config::default()).expect("a table");
            slot.insert(default["disk"].clone())
        }
        toml::map::Entry::Vacant(slot) => slot.insert(Value::Table(Table::new())),
    };
    match slot {
        Value::Table(inner) => insert(inner, rest, value),
        Value::Array(items) => insert_item(items, first, rest, value),
        _ => Err(format!("`{first}` is no table")),
    }
}

fn insert_item(items: &mut Vec<Value>, name: &str, path: &str, value: Value) -> Result<(), String> {
    let (index, rest) = path.split_once('.').unwrap_or((path, ""));
    let index: usize = index
        .parse()
        .map_err(|_| format!("`{name}` is a list: write `{name}.0.…`, counting from 0"))?;
    if index > items.len() {
        return Err(format!(
            "`{name}` has {} items: the next is `{name}.{}`",
            items.len(),
            items.len()
        ));
    }
    if index == items.len() {
        items.push(Value::Table(Table::new()));
    }
    if rest.is_empty() {
        items[index] = value;
        return Ok(());
    }
    match &mut items[index] {
        Value::Table(inner) => insert(inner, rest, value),
        _ => Err(format!("`{name}.{index}` is no table")),
    }
}
