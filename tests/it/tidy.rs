//! The layout, as a table: who may know whom. A folder without a row fails, and so does an arrow that is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room of `src`, what it is for, and the rooms that it may name.
const ROOMS: [(&str, &[&str]); 17] = [
    // The words and the rules know nothing else.
    ("domain", &[]),
    ("clock", &[]),
    ("lifecycle", &[]),
    ("telemetry", &[]),
    ("http", &[]),
    // A Seam-compatible server. It shares no type with the Seam client: they agree through `schemas/seam`.
    ("sandbox", &["clock", "http"]),
    ("queue", &["domain", "clock"]),
    // The receiver knows no store and no provider.
    ("receiver", &["domain", "clock", "queue"]),
    ("store", &["domain", "clock", "queue"]),
    ("provider", &["domain", "clock"]),
    // Only the worker changes an issuance.
    ("worker", &["domain", "clock", "provider", "store"]),
    // The sweep puts things into the front of the flow, and changes no issuance.
    ("sweep", &["clock", "provider", "queue", "store"]),
    // The ops API reads, and puts things into the front of the flow.
    ("ops", &["domain", "clock", "provider", "store", "queue", "http"]),
    // What follows joins the parts.
    ("config", &["domain", "http", "queue", "receiver", "store", "provider", "worker", "sweep"]),
    (
        "service",
        &["clock", "config", "http", "lifecycle", "ops", "provider", "queue", "receiver", "store", "sweep", "worker"],
    ),
    // Looks at everything from outside.
    ("doctor", &["clock", "config", "domain", "provider", "queue", "receiver", "store"]),
    (
        "cli",
        &[
            "clock",
            "config",
            "doctor",
            "domain",
            "http",
            "lifecycle",
            "ops",
            "receiver",
            "sandbox",
            "service",
            "store",
            "telemetry",
        ],
    ),
];

fn sources(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{dir} has sources");
    found
}

/// The room of a file: the first part of its path below `src`.
fn room(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("a source");
    let first = below.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a text names: `crate::room`, and `crate::{room, …}`.
fn named(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let list = match rest.strip_prefix('{') {
            Some(group) => group.split_once("};").map_or(group, |(list, _)| list),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default(),
        };
        // Inside `{a::{b, c}, d}` only what stands at the outer level is a room.
        let mut depth = 0;
        let mut word = String::new();
        for c in list.chars().chain([',']) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    rooms.insert(word.trim().split("::").next().unwrap_or_default().to_owned());
                    word.clear();
                }
                _ if depth == 0 => word.push(c),
                _ => {}
            }
        }
    }
    rooms
}

#[test]
fn every_arrow_is_in_the_table() {
    let table: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let mut wrong = Vec::new();
    for path in sources("src") {
        let from = room(&path);
        if from == "lib" || from == "main" {
            continue;
        }
        let Some(allowed) = table.get(from.as_str()) else {
            wrong.push(format!("{}: the room `{from}` has no row in the table", path.display()));
            continue;
        };
        let text = fs::read_to_string(&path).expect("a source");
        for to in named(&text) {
            if table.contains_key(to.as_str()) && to != from && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{}: `{from}` must not know `{to}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_has_grown_two_subjects() {
    const LINES_MAX: usize = 500;
    for path in ["src", "tests"].into_iter().flat_map(sources) {
        let lines = fs::read_to_string(&path).expect("a source").lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: it has two subjects", path.display());
    }
}

#[test]
fn what_is_generated_is_as_its_source_says() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/config.json");
    let kept = fs::read_to_string(&schema).unwrap_or_default();
    let advice = "schemas/config.json is not what the code says: cargo run -- config schema > schemas/config.json";
    assert!(kept == keyferry::config::file::schema(), "{advice}");
}
