//! What a failed attempt means: the one place that turns a status, a body or a broken connection into a word.
//!
//! Two questions decide. *May the call be repeated?* A read may; so may a change that leads to the same state however
//! often it is made (moving an end, deleting). A create may not: the provider knows no idempotency key. *Can the attempt
//! have taken effect?* Where that is open, a repeatable call is `Transient` and a create is `Unknown`, to be asked about.
//!
//! | what happened | repeatable | create | because |
//! |---|---|---|---|
//! | no connection (refused, DNS, TLS) | transient | transient | nothing was sent |
//! | connection lost, deadline passed | transient | unknown | the request may have been read |
//! | 2xx that cannot be read, or holds an error | transient | unknown | it says that it worked, and not what |
//! | 429, 503, 408, 425 | transient | transient | these four refuse before anything is done (RFC 9110, 6585, 8470) |
//! | 500, 502, 504, any other 5xx | transient | unknown | a handler or a gateway failed at a moment that nobody knows |
//! | 3xx | transient | unknown | redirects are not followed; a wrong address, or a proxy that answers after the fact |
//! | 401, 403 | transient | transient | who we are was refused, not what we asked: mended by a key, not by parking events |
//! | other 4xx in Seam's words | permanent | permanent | the provider understood, and declines |
//! | other 4xx in other words | transient | transient | something before Seam refused: a proxy, a wrong address |
//!
//! The last two rows differ because "not found" makes a worker forget a credential: only Seam itself is believed.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;
use serde_json::Value;

use super::ProviderError;

/// A shorter `Retry-After` would be a busy loop. The longest is a setting: a year would be an outage of our own making.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// Characters of a provider's message that an error keeps, and fields that it names.
const MESSAGE_CHARS_MAX: usize = 200;
const FIELDS_MAX: usize = 10;

/// One of Seam's paths, and whether it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) is_repeatable: bool,
}

impl Call {
    /// A read, or a change that ends in the same state however often it is made.
    pub(super) const fn repeatable(path: &'static str) -> Self {
        Self { path, is_repeatable: true }
    }

    /// A call that makes something new each time.
    pub(super) const fn once(path: &'static str) -> Self {
        Self { path, is_repeatable: false }
    }

    /// The attempt may have taken effect, or not.
    pub(super) fn uncertain(self, why: String, retry_after: Option<Duration>) -> ProviderError {
        if self.is_repeatable {
            self.transient(why, retry_after)
        } else {
            ProviderError::Unknown { call: self.path, why }
        }
    }

    fn transient(self, why: String, retry_after: Option<Duration>) -> ProviderError {
        ProviderError::Transient { call: self.path, why, retry_after }
    }
}

/// Why an attempt brought no answer to work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection: the request was never sent.
    NotSent(String),
    /// The request may have been sent; no whole answer came back.
    Lost(String),
    /// An answer that refuses.
    Refused(Refusal),
    /// A 2xx that is not the answer to the call.
    Unreadable(String),
}

/// An answer outside 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The `Retry-After` header as it came.
    pub(super) retry_after: Option<String>,
    /// The body as far as it could be read.
    pub(super) body: Vec<u8>,
}

/// The meaning of a failed attempt at `call` that ended at `now`. A `Retry-After` is held to `retry_after_max`.
pub(super) fn judge(call: Call, failure: Failure, now: Timestamp, retry_after_max: Duration) -> ProviderError {
    match failure {
        Failure::NotSent(why) => call.transient(why, None),
        Failure::Lost(why) | Failure::Unreadable(why) => call.uncertain(why, None),
        Failure::Refused(refusal) => judge_refusal(call, &refusal, now, retry_after_max),
    }
}

fn judge_refusal(call: Call, refusal: &Refusal, now: Timestamp, retry_after_max: Duration) -> ProviderError {
    let status = refusal.status.as_u16();
    let seams = SeamError::of_body(&refusal.body);
    let why = match &seams {
        Some(error) => format!("{status} {}: {}", error.kind, error.message),
        None => format!("{status}, not in Seam's words"),
    };
    let retry_after = refusal.retry_after.as_deref().and_then(|value| asked_wait(value, now));
    let retry_after = retry_after.map(|asked| asked.clamp(RETRY_AFTER_MIN, retry_after_max.max(RETRY_AFTER_MIN)));
    match (status, seams) {
        (401 | 403, _) => call.transient(format!("the API key was refused, check SEAM_API_KEY ({why})"), retry_after),
        // Asked to slow down, and not told for how long.
        (429, _) => call.transient(why, retry_after.or(Some(RETRY_AFTER_MIN))),
        (408 | 425 | 503, _) => call.transient(why, retry_after),
        (400..=499, Some(error)) => {
            ProviderError::Permanent { call: call.path, status, error_type: error.kind, message: error.message }
        }
        (400..=499, None) => call.transient(format!("{why}: check SEAM_ENDPOINT and what is before it"), retry_after),
        (300..=399, _) => call.uncertain(format!("{status}, a redirect: check SEAM_ENDPOINT"), retry_after),
        _ => call.uncertain(why, retry_after),
    }
}

/// Seconds or an HTTP date, held within bounds. What is neither is as good as absent.
fn asked_wait(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds is a long time as well.
        Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)))
    } else {
        let at = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value).ok()?;
        // A date that has passed is a negative wait.
        Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }
}

/// Seam's error object, cleaned for a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeamError {
    /// `error.type`
    pub(super) kind: String,
    /// `error.message`, with the names of the fields that were refused.
    pub(super) message: String,
}

#[derive(Deserialize)]
struct Envelope {
    error: Wire,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    validation_errors: Value,
}

impl SeamError {
    /// The error in `{"error": {"type": …}}`, if the body is that.
    pub(super) fn of_body(body: &[u8]) -> Option<Self> {
        let Envelope { error } = serde_json::from_slice(body).ok()?;
        let mut message = cleaned(error.message.as_str().unwrap_or_default());
        let mut fields = Vec::new();
        refused_fields(&error.validation_errors, "", &mut fields);
        if !fields.is_empty() {
            message = format!("{message} [{}]", cleaned(&fields.join(", ")));
        }
        Some(Self { kind: cleaned(&error.kind), message })
    }
}

/// Collects the paths that have complaints in zod's format: `{"_errors": […], "field": {"_errors": […], …}}`.
fn refused_fields(errors: &Value, path: &str, into: &mut Vec<String>) {
    for (name, nested) in errors.as_object().into_iter().flatten() {
        if into.len() == FIELDS_MAX {
            return;
        }
        if name != "_errors" {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            refused_fields(nested, &path, into);
        } else if !path.is_empty() && nested.as_array().is_some_and(|list| !list.is_empty()) {
            into.push(path.to_owned());
        }
    }
}

/// A foreign text as a log line can bear it: one line, of bounded length, that a terminal shows as it is.
pub(super) fn cleaned(text: &str) -> String {
    let is_unseen = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(|&c| !is_unseen(c)).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY_AFTER_MAX: Duration = Duration::from_mins(2);
    const READ: Call = Call::repeatable("/acs/credentials/get");
    const CREATE: Call = Call::once("/acs/credentials/create");
    const SEAMS: &str = r#"{"error": {"type": "a_type", "message": "A message."}, "ok": false}"#;

    fn now() -> Timestamp {
        "2026-03-01T10:00:00Z".parse().expect("a timestamp")
    }

    fn refusal(status: u16, retry_after: Option<&str>, body: &str) -> Failure {
        let status = StatusCode::from_u16(status).expect("a status");
        Failure::Refused(Refusal { status, retry_after: retry_after.map(str::to_owned), body: body.into() })
    }

    fn word(error: &ProviderError) -> &'static str {
        match error {
            ProviderError::Transient { .. } => "transient",
            ProviderError::Permanent { .. } => "permanent",
            ProviderError::Unknown { .. } => "unknown",
            ProviderError::Held { .. } => "held",
        }
    }

    #[test]
    fn each_failure_has_its_word() {
        let cases = [
            (Failure::NotSent("refused".into()), "transient", "transient"),
            (Failure::Lost("gone".into()), "transient", "unknown"),
            (Failure::Unreadable("HTML".into()), "transient", "unknown"),
            (refusal(429, None, SEAMS), "transient", "transient"),
            (refusal(503, None, "<html>"), "transient", "transient"),
            (refusal(408, None, ""), "transient", "transient"),
            (refusal(425, None, ""), "transient", "transient"),
            (refusal(500, None, SEAMS), "transient", "unknown"),
            (refusal(501, None, SEAMS), "transient", "unknown"),
            (refusal(502, None, "<html>"), "transient", "unknown"),
            (refusal(504, None, "<html>"), "transient", "unknown"),
            (refusal(599, None, ""), "transient", "unknown"),
            (refusal(301, None, ""), "transient", "unknown"),
            (refusal(302, None, ""), "transient", "unknown"),
            (refusal(307, None, ""), "transient", "unknown"),
            (refusal(401, None, SEAMS), "transient", "transient"),
            (refusal(401, None, ""), "transient", "transient"),
            (refusal(403, None, SEAMS), "transient", "transient"),
            (refusal(400, None, SEAMS), "permanent", "permanent"),
            (refusal(404, None, SEAMS), "permanent", "permanent"),
            (refusal(405, None, SEAMS), "permanent", "permanent"),
            (refusal(409, None, SEAMS), "permanent", "permanent"),
            (refusal(422, None, SEAMS), "permanent", "permanent"),
            (refusal(400, None, "Invalid JSON"), "transient", "transient"),
            (refusal(404, None, "Not Found"), "transient", "transient"),
            (refusal(407, None, "<html>"), "transient", "transient"),
            (refusal(413, None, r#"{"error": "too large"}"#), "transient", "transient"),
        ];
        for (failure, read, create) in cases {
            assert_eq!(word(&judge(READ, failure.clone(), now(), RETRY_AFTER_MAX)), read, "a read: {failure:?}");
            assert_eq!(word(&judge(CREATE, failure.clone(), now(), RETRY_AFTER_MAX)), create, "a create: {failure:?}");
        }
    }

    #[test]
    fn retry_after_is_held_within_reason() {
        let minute = Some(Duration::from_mins(1));
        for (value, held) in [
            ("60", minute),
            (" 60 ", minute),
            ("0", Some(RETRY_AFTER_MIN)),
            ("31536000", Some(RETRY_AFTER_MAX)),
            ("99999999999999999999999999", Some(RETRY_AFTER_MAX)),
            ("Sun, 01 Mar 2026 10:01:00 GMT", minute),
            ("Sun, 01 Mar 2026 09:00:00 GMT", Some(RETRY_AFTER_MIN)),
            ("Sat, 01 Mar 9998 10:00:00 GMT", Some(RETRY_AFTER_MAX)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let ProviderError::Transient { retry_after, .. } =
                judge(CREATE, refusal(503, Some(value), ""), now(), RETRY_AFTER_MAX)
            else {
                panic!("503 is transient")
            };
            assert_eq!(retry_after, held, "Retry-After: {value}");
        }
        let slow_down = judge(CREATE, refusal(429, None, ""), now(), RETRY_AFTER_MAX);
        assert!(
            matches!(slow_down, ProviderError::Transient { retry_after: Some(RETRY_AFTER_MIN), .. }),
            "slowed down all the same: {slow_down:?}"
        );
    }

    #[test]
    fn a_refused_field_is_named() {
        let body = r#"{"error": {"type": "invalid_input", "message": "2 Input Errors", "validation_errors": {"_errors": [],
            "acs_system_id": {"_errors": ["Required"]},
            "visionline_metadata": {"_errors": [], "card_format": {"_errors": ["Invalid"]}}}}}"#;
        assert_eq!(
            judge(CREATE, refusal(400, None, body), now(), RETRY_AFTER_MAX).to_string(),
            "/acs/credentials/create: invalid_input: 2 Input Errors [acs_system_id, visionline_metadata.card_format]"
        );
    }

    #[test]
    fn a_foreign_message_becomes_one_short_line() {
        let body = serde_json::json!({ "error": { "type": "x", "message": format!("a\r\n\u{1b}[31m\u{202e}{}", "b".repeat(999)) } });
        let error = SeamError::of_body(body.to_string().as_bytes()).expect("an error");
        assert_eq!(error.message, format!("a[31m{}", "b".repeat(195)));
    }

    #[test]
    fn only_seams_own_not_found_is_believed() {
        assert!(judge(READ, refusal(404, None, SEAMS), now(), RETRY_AFTER_MAX).is_not_found());
        assert!(!judge(READ, refusal(404, None, "404 page not found"), now(), RETRY_AFTER_MAX).is_not_found());
    }
}
