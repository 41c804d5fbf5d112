//! Flags over environment over file: three layers laid into one table before anything is judged, so that a mistake is
//! found the same way wherever it was made, and named by where it was made.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::Problem;
use super::file::{File, Source};

/// Each variable, and the setting that it stands for.
const VARIABLES: [(&str, &str, &str); 9] = [
    ("KEYFERRY_LISTEN", "receiver", "listen"),
    ("KEYFERRY_OPS_LISTEN", "ops", "listen"),
    ("KEYFERRY_OPS_TOKEN", "ops", "token"),
    ("KEYFERRY_STORE_URL", "store", "url"),
    ("KEYFERRY_AMQP_URL", "queue", "amqp_url"),
    ("KEYFERRY_QUEUE_KEY", "queue", "key"),
    ("SEAM_API_KEY", "provider", "api_key"),
    ("SEAM_ENDPOINT", "provider", "endpoint"),
    ("SEAM_API_URL", "provider", "endpoint"),
];

/// Variables that make a source: its name, its kind.
const SOURCES: [(&str, &str, &str); 2] =
    [("SEAM_WEBHOOK_SECRET", "seam", "seam"), ("KEYFERRY_APP_WEBHOOK_SECRET", "app", "standard")];

/// Where each setting came from, for messages.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    pub(super) fn name(&self, path: &str) -> String {
        self.0.get(path).map_or_else(|| path.to_owned(), |origin| format!("{origin} ({path})"))
    }
}

/// What each setting says, for telling whether it says the same later: digests, since some are secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said(BTreeMap<String, [u8; 32]>);

impl Said {
    /// The settings that `newer` has otherwise, or only one of the two has.
    pub(super) fn changes(&self, newer: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(newer.0.keys()).collect();
        names.into_iter().filter(|name| self.0.get(*name) != newer.0.get(*name)).cloned().collect()
    }
}

fn digest(value: &Value) -> [u8; 32] {
    // Every value that TOML has becomes JSON.
    Sha256::digest(serde_json::to_vec(value).unwrap_or_default()).into()
}

pub(super) struct Layers {
    table: Table,
    pub(super) origins: Origins,
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    /// Begins with the file, if there is one.
    pub(super) fn of(file: Option<&str>) -> Self {
        let mut problems = Vec::new();
        let table = match file.unwrap_or_default().parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                // Not the error's own text: it quotes the line, and the line may hold a secret.
                let place = format!("line {} of the configuration file", line_of(file, &error));
                problems.push(Problem::new(&place, &one_line(&error)));
                Table::new()
            }
        };
        Self { table, origins: Origins::default(), problems }
    }

    pub(super) fn set(&mut self, origin: &str, section: &str, key: &str, value: &str) {
        let section_of = self.table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(table) = section_of {
            table.insert(key.to_owned(), Value::String(value.to_owned()));
            self.origins.0.insert(format!("{section}.{key}"), origin.to_owned());
        }
    }

    /// Lays the environment over the file. An empty variable counts as unset.
    pub(super) fn overlay_environment(&mut self, environment: &BTreeMap<String, String>) {
        let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        // SEAM_API_URL is Seam's deprecated name for SEAM_ENDPOINT, and gives way to it.
        for (variable, section, key) in VARIABLES.iter().rev() {
            if let Some(value) = get(variable) {
                self.set(variable, section, key, value);
            }
        }
        for (variable, name, kind) in SOURCES {
            if let Some(value) = get(variable) {
                self.set_source(variable, name, kind, value);
            }
        }
    }

    fn set_source(&mut self, variable: &str, name: &str, kind: &str, secrets: &str) {
        let secrets = secrets.split(',').map(|secret| Value::String(secret.trim().to_owned())).collect();
        let mut source = Table::new();
        source.insert("name".to_owned(), Value::String(name.to_owned()));
        source.insert("kind".to_owned(), Value::String(kind.to_owned()));
        source.insert("secrets".to_owned(), Value::Array(secrets));
        let sources = self.table.entry("sources").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(sources) = sources {
            sources.retain(|other| other.get("name").and_then(Value::as_str) != Some(name));
            sources.push(Value::Table(source));
            self.origins.0.insert(format!("sources.{name}"), variable.to_owned());
        }
    }

    /// What every setting says, but for the sources.
    pub(super) fn said(&self) -> Said {
        let mut said = BTreeMap::new();
        for (section, value) in self.table.iter().filter(|(section, _)| *section != "sources") {
            match value {
                Value::Table(table) => {
                    said.extend(table.iter().map(|(key, value)| (format!("{section}.{key}"), digest(value))));
                }
                value => drop(said.insert(section.clone(), digest(value))),
            }
        }
        Said(said)
    }

    /// Reads all sections; what cannot be read is noted and left at its default.
    pub(super) fn read(&mut self) -> File {
        let file = File {
            receiver: self.section("receiver"),
            ops: self.section("ops"),
            store: self.section("store"),
            queue: self.section("queue"),
            provider: self.section("provider"),
            worker: self.section("worker"),
            sweep: self.section("sweep"),
            retention: self.section("retention"),
            sources: self.sources(),
        };
        for (name, _) in std::mem::take(&mut self.table) {
            self.problems.push(Problem::new(&name, "there is no such section"));
        }
        file
    }

    fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        let Some(mut value) = self.table.remove(name) else { return T::default() };
        // One mistake at a time: note it, take it out, look for the next.
        loop {
            let (path, why) = match serde_path_to_error::deserialize(value.clone()) {
                Ok(section) => return section,
                Err(error) => (error.path().to_string(), one_line(error.inner())),
            };
            let is_named = value.get(&path).is_some();
            let key = if is_named { path } else { unknown_field(&why).unwrap_or_default() };
            let place = if key.is_empty() { name.to_owned() } else { format!("{name}.{key}") };
            self.problems.push(Problem::new(&self.origins.name(&place), &why));
            let taken_out = value.as_table_mut().is_some_and(|table| table.remove(&key).is_some());
            if !taken_out {
                return T::default();
            }
        }
    }

    fn sources(&mut self) -> Vec<Source> {
        let listed = match self.table.remove("sources") {
            None => Vec::new(),
            Some(Value::Array(listed)) => listed,
            Some(_) => {
                self.problems.push(Problem::new("sources", "it is written [[sources]], once for each"));
                Vec::new()
            }
        };
        let mut sources = Vec::new();
        for (index, value) in listed.into_iter().enumerate() {
            match serde_path_to_error::deserialize(value) {
                Ok(source) => sources.push(source),
                Err(error) => {
                    let place = format!("sources[{index}].{}", error.path());
                    self.problems.push(Problem::new(&place, &one_line(error.inner())));
                }
            }
        }
        sources
    }
}

/// serde names an unknown field only in its message.
fn unknown_field(why: &str) -> Option<String> {
    let rest = why.strip_prefix("unknown field `")?;
    Some(rest.split('`').next().unwrap_or_default().to_owned())
}

fn line_of(file: Option<&str>, error: &toml::de::Error) -> usize {
    let (file, end) = (file.unwrap_or_default(), error.span().map_or(0, |span| span.start));
    file.bytes().take(end).filter(|byte| *byte == b'\n').count() + 1
}

/// The error without the value that it found: that may be a secret in the wrong place.
fn one_line(error: &toml::de::Error) -> String {
    let text = error.message().lines().collect::<Vec<_>>().join(" ");
    for kind in ["invalid type: ", "invalid value: ", "unknown variant "] {
        if let Some((found, expected)) = text.strip_prefix(kind).and_then(|rest| rest.rsplit_once(", expected ")) {
            let what = found.split([' ', '`', '"']).next().unwrap_or_default();
            let what = if what.is_empty() { String::new() } else { format!(" {what},") };
            return format!("{}{what} expected {expected}", kind.trim_end().trim_end_matches(':').to_owned() + ":");
        }
    }
    text
}
