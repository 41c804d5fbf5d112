//! `schemas/api/openapi.json` against the router, both ways; and every answer of every story against the file.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::office::{Answer, Office};

static FILE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../schemas/api/openapi.json")).expect("the file is JSON")
});

fn paths() -> &'static Map<String, Value> {
    FILE["paths"].as_object().expect("paths")
}

/// The path of the file that `path` is one of: a fixed one before one with a variable part.
fn template(path: &str) -> Option<&'static str> {
    let fits = |template: &str| {
        let (parts, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        parts.len() == given.len()
            && parts.iter().zip(given).all(|(part, given)| part.starts_with('{') || *part == given)
    };
    let mut fitting: Vec<&str> = paths().keys().map(String::as_str).filter(|template| fits(template)).collect();
    fitting.sort_by_key(|template| template.contains('{'));
    fitting.first().copied()
}

/// Holds an answer against the file: its status is described there, and its body is as described.
///
/// # Panics
///
/// When it is not.
pub(super) fn check(method: &Method, path: &str, answer: &Answer) {
    let operation = template(path).map(|template| &FILE["paths"][template][method.as_str().to_lowercase()]);
    let described = match operation.map(|operation| &operation["responses"][answer.status.as_str()]) {
        Some(response) if !response.is_null() => resolved(response),
        // What the file cannot list: answers to what it does not describe.
        _ if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            &FILE["components"]["responses"]["NotFound"]
        }
        _ if matches!(path, "/livez" | "/readyz" | "/metrics") => return,
        _ => panic!("{method} {path}: {} is not described", answer.status),
    };
    if let Some(schema) = described["content"]["application/json"].get("schema") {
        assert_eq!(answer.headers["content-type"], "application/json", "{method} {path}");
        let whole = json!({"allOf": [schema], "components": FILE["components"]});
        let validator = jsonschema::options().should_validate_formats(true).build(&whole).expect("a schema");
        let body = answer.json();
        let errors: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:?} in {body}");
    }
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(pointer) => FILE.pointer(pointer.trim_start_matches('#')).expect("a reference that leads somewhere"),
        None => value,
    }
}

#[test]
fn the_file_has_the_routers_paths_and_no_others() {
    let described: BTreeSet<&str> = paths().keys().map(String::as_str).collect();
    assert_eq!(described, keyferry::ops::paths().into_iter().collect());
}

#[tokio::test]
async fn the_file_has_the_routers_methods_and_no_others() {
    let office = Office::open().await;
    for (path, operations) in paths() {
        let mut described: BTreeSet<String> =
            operations.as_object().expect("operations").keys().map(|method| method.to_uppercase()).collect();
        described.remove("PARAMETERS");
        // The router answers HEAD wherever it answers GET.
        if described.contains("GET") {
            described.insert("HEAD".to_owned());
        }
        let answer = office.send(office.request(Method::PATCH, &path.replace(['{', '}'], ""))).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = answer.headers["allow"].to_str().expect("text").split(',').map(str::to_owned).collect();
        assert_eq!(described, allowed, "{path}");
    }
}

#[tokio::test]
async fn the_file_is_served() {
    let office = Office::open().await;
    assert_eq!(office.get("/v1/openapi.json").await.json(), *FILE);
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(pointer) = object.get("$ref").and_then(Value::as_str) {
                    assert!(FILE.pointer(pointer.trim_start_matches('#')).is_some(), "{pointer}");
                }
                object.values().for_each(walk);
            }
            Value::Array(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    walk(&FILE);
}
