//! `schemas/seam`: what the client and any upstream of it agree on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::Value;

pub(crate) fn schemas(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/seam").join(kind)
}

pub(crate) fn names_in(folder: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).expect("the folder");
    files.map(|file| file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

pub(crate) fn validator(kind: &str, name: &str) -> Validator {
    let text = std::fs::read(schemas(kind).join(format!("{name}.json"))).expect(name);
    let schema: Value = serde_json::from_slice(&text).expect("a schema in JSON");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema")
}

pub(crate) fn assert_fits(kind: &str, name: &str, value: &Value) {
    let complaints: Vec<String> = validator(kind, name).iter_errors(value).map(|error| error.to_string()).collect();
    assert!(complaints.is_empty(), "{kind}/{name}: {complaints:?} in {value}");
}
