//! Seam's envelopes: what an answer and a refusal look like on the wire.
//!
//! Success is `{"<key>": …, "ok": true}` with status 200, refusal `{"error": {"type", "message", "validation_errors"?},
//! "ok": false}`. Both carry the header `seam-request-id`. Formats and messages are those of nextlove, the framework
//! that Seam's server runs on.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::world::refusal::{Issue, Refusal};

/// What a handler says when all is well: the fields beside `ok`.
#[derive(Debug, Default)]
pub(crate) struct Answer(Map<String, Value>);

pub(crate) type Outcome = Result<Answer, Refusal>;

impl Answer {
    /// Only `{"ok": true}`.
    pub(crate) fn void() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, key: &str, value: impl Serialize) -> Self {
        // Our wire structs have string keys throughout, so this cannot fail.
        self.0.insert(key.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// One object, or a list, under its key.
    pub(crate) fn of(key: &str, value: impl Serialize) -> Self {
        Self::void().with(key, value)
    }

    pub(crate) fn into_response(mut self) -> Response {
        self.0.insert("ok".to_owned(), Value::Bool(true));
        json_response(StatusCode::OK, &Value::Object(self.0))
    }
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

pub(crate) fn text_response(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pub(crate) fn error_response(status: StatusCode, kind: &str, message: &str) -> Response {
    json_response(status, &json!({"error": {"type": kind, "message": message}, "ok": false}))
}

impl Refusal {
    pub(crate) fn into_response(self) -> Response {
        match self {
            Self::NotFound { resource, name } => {
                error_response(StatusCode::NOT_FOUND, &format!("{resource}_not_found"), &format!("{name} not found"))
            }
            Self::Bad { kind, message } => error_response(StatusCode::BAD_REQUEST, kind, &message),
            Self::Conflict { kind, message } => error_response(StatusCode::CONFLICT, kind, &message),
            Self::Invalid { issues } => {
                let error = json!({
                    "type": "invalid_input",
                    "message": summary(&issues),
                    "validation_errors": tree(&issues),
                });
                json_response(StatusCode::BAD_REQUEST, &json!({"error": error, "ok": false}))
            }
        }
    }
}

/// The one-line message of several issues.
fn summary(issues: &[Issue]) -> String {
    let lines: Vec<String> = issues.iter().map(line).collect();
    match lines.as_slice() {
        [one] => one.clone(),
        many => format!("{} Input Errors: {}", many.len(), many.join(", ")),
    }
}

fn line(issue: &Issue) -> String {
    let path = issue.path.join(".");
    match issue.message.as_str() {
        message if path.is_empty() => message.to_owned(),
        "Required" => format!("{path} is required"),
        message => format!("{message} for \"{path}\""),
    }
}

/// zod's `format()`: a tree with the parameters' names, `_errors` at each node.
fn tree(issues: &[Issue]) -> Value {
    let mut root = json!({"_errors": []});
    for issue in issues {
        let mut node = &mut root;
        for name in &issue.path {
            if node.get(name).is_none() {
                node[name] = json!({"_errors": []});
            }
            node = &mut node[name];
        }
        if let Value::Array(errors) = &mut node["_errors"] {
            errors.push(Value::String(issue.message.clone()));
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(path: &str, message: &str) -> Issue {
        Issue {
            path: path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn issues_read_as_the_framework_writes_them() {
        let one = [issue("acs_system_id", "Required")];
        assert_eq!(summary(&one), "acs_system_id is required");
        assert_eq!(tree(&one), json!({"_errors": [], "acs_system_id": {"_errors": ["Required"]}}));
        let two = [
            issue("acs_system_id", "Expected string, received number"),
            issue("full_name", "Expected string, received number"),
        ];
        assert_eq!(
            summary(&two),
            "2 Input Errors: Expected string, received number for \"acs_system_id\", \
             Expected string, received number for \"full_name\""
        );
        assert_eq!(
            summary(&[issue("", "Must specify either since or between")]),
            "Must specify either since or between"
        );
        assert_eq!(
            tree(&[issue("visionline_metadata.override", "Expected boolean, received string")]),
            json!({"_errors": [], "visionline_metadata": {"_errors": [], "override": {
                "_errors": ["Expected boolean, received string"]}}})
        );
    }
}
