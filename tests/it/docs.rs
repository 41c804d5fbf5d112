//! `docs/failures.md` says for each fault which test plays it: each of these tests exists, and each story about faults has
//! its row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every test below `tests/it`, as `module::name`; a story that a macro writes for several set-ups has one name.
fn tests() -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![root().join("tests/it")]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let module = module(&path);
            found.extend(names(&text).into_iter().map(|name| format!("{module}::{name}")));
        }
    }
    found
}

fn module(path: &Path) -> String {
    let below: PathBuf = path.strip_prefix(root().join("tests/it")).expect("a source").with_extension("");
    let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.join("::").trim_end_matches("::mod").to_owned()
}

/// Functions with a test's attribute, and those that are handed to a macro which writes tests.
fn names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            let function = lines.find(|line| line.contains("fn ")).unwrap_or_default();
            names.extend(
                function.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|it| it.0.to_owned()),
            );
        } else if let Some((_, rest)) = line.split_once("_shapes!(").or_else(|| line.split_once("_stores!(")) {
            let mut list = rest.to_owned();
            while !list.contains(')') {
                list.push_str(lines.next().expect("the list has an end"));
            }
            let list = list.split(')').next().unwrap_or_default().split(',').map(str::trim);
            names.extend(list.filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    names
}

/// What stands between backticks and looks like a test's path.
fn named(page: &str) -> BTreeSet<String> {
    let words = page.split('`').skip(1).step_by(2);
    words.filter(|word| word.contains("::")).map(str::to_owned).collect()
}

#[test]
fn every_fault_has_its_test_and_every_story_its_row() {
    let page = fs::read_to_string(root().join("docs/failures.md")).expect("the page");
    let (tests, named) = (tests(), named(&page));
    let missing: Vec<_> = named.difference(&tests).collect();
    assert!(missing.is_empty(), "docs/failures.md names tests that do not exist: {missing:#?}");
    let stories = tests.iter().filter(|test| test.starts_with("faults::") || test.starts_with("soak::"));
    let untold: Vec<_> = stories.filter(|story| !named.contains(*story)).collect();
    assert!(untold.is_empty(), "docs/failures.md has no row for {untold:#?}");
}
