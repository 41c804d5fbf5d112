//! `docs/failures.md` says for each fault which test plays it, and `docs/hostile.md` for each input that means harm: each
//! of these tests exists, and each story has its row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

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

/// What stands between backticks.
fn marked(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

/// What stands between backticks and looks like a test's path.
fn named(page: &str) -> BTreeSet<String> {
    marked(page).filter(|word| word.contains("::")).map(str::to_owned).collect()
}

/// Every setting of the configuration file, as `section.name`.
fn settings() -> BTreeSet<String> {
    let schema = fs::read_to_string(root().join("schemas/config.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let mut settings = BTreeSet::new();
    for (section, value) in schema["properties"].as_object().expect("sections") {
        let Some(definition) = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) else {
            continue;
        };
        let properties = schema.pointer(definition).and_then(|it| it["properties"].as_object()).expect("settings");
        settings.extend(properties.keys().map(|name| format!("{section}.{name}")));
    }
    settings
}

/// The text of all sources.
fn sources() -> String {
    let (mut text, mut open) = (String::new(), vec![root().join("src")]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else {
            text.push_str(&fs::read_to_string(&path).unwrap_or_default());
        }
    }
    text
}

#[test]
fn the_settings_and_metrics_that_are_named_exist() {
    let page = fs::read_to_string(root().join("docs/failures.md")).expect("the page");
    let (settings, sources) = (settings(), sources());
    let sections: BTreeSet<&str> = settings.iter().filter_map(|it| Some(it.split_once('.')?.0)).collect();
    let (mut named, mut wrong) = (0, Vec::new());
    for word in marked(&page) {
        let is_setting = word.split_once('.').is_some_and(|(section, _)| sections.contains(section));
        let metric = word.split('{').next().filter(|name| name.starts_with("keyferry_"));
        let exists = match metric {
            Some(name) => sources.contains(&format!("\"{name}\"")),
            None if is_setting => settings.contains(word),
            None => continue,
        };
        named += 1;
        wrong.extend((!exists).then_some(word));
    }
    assert!(named > 10 && wrong.is_empty(), "docs/failures.md names what does not exist: {wrong:?}");
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

/// The number in the first column of each row.
fn numbers(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| B"))
        .map(|rest| rest.split(' ').next().unwrap_or_default())
        .collect()
}

#[test]
fn every_hostile_input_is_played_and_nothing_unlisted_is() {
    let page = fs::read_to_string(root().join("docs/hostile.md")).expect("the page");
    let listed = numbers(&page);
    let counted: Vec<String> = (1..=76).map(|number| format!("{number:02}")).collect();
    assert_eq!(listed, counted, "docs/hostile.md lists each number once, in their order");
    let (tests, named) = (tests(), named(&page));
    let missing: Vec<_> = named.difference(&tests).collect();
    assert!(missing.is_empty(), "docs/hostile.md names tests that do not exist: {missing:#?}");

    let played = crate::hostile::played();
    let listed: BTreeSet<String> = listed.iter().map(|number| format!("B{number}")).collect();
    let unlisted: Vec<_> = played.iter().filter(|number| !listed.contains(**number)).collect();
    assert!(unlisted.is_empty(), "rows play what docs/hostile.md does not list: {unlisted:?}");
    let told =
        |number: &str| page.lines().any(|line| line.starts_with(&format!("| {number} |")) && line.contains("::"));
    let unplayed: Vec<_> = listed.iter().filter(|number| !played.contains(number.as_str()) && !told(number)).collect();
    assert!(unplayed.is_empty(), "no row and no story plays {unplayed:?}");
}
