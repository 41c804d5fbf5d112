//! Seam's answers, decoded: envelopes, pages and the objects in them.
//!
//! Tolerant where Seam may grow (fields, kinds, what newer versions require), strict where a guess would do harm: an
//! object needs its id, and a time that is there must be readable, or a credential would seem to have no end. A list is
//! whole or an error that names the element: the worker reads "not in the list" as "does not exist", and would create a
//! second credential for one that was left out.
//!
//! Errors here never quote a value, because values are people.

mod objects;

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use objects::{EnrollmentAutomation, Entrance, UserIdentity};

use super::Credential;
use super::error::{SeamError, cleaned};

/// An object of Seam's: the names that it goes by, and how it is read.
pub(super) trait Object: Sized {
    /// The response key of one, and of a list.
    const ONE: &'static str;
    const MANY: &'static str;
    /// The field that identifies it.
    const ID: &'static str;

    fn read(raw: &RawValue) -> serde_json::Result<Self>;
}

/// Some elements of a list, and where the others are.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

#[derive(Default, Deserialize)]
struct Pagination {
    has_next_page: Option<bool>,
    next_page_cursor: Option<String>,
}

/// The answer of a call that returns nothing: `{"ok": true}`.
pub(super) fn void(body: &[u8]) -> Result<(), String> {
    fields(body).map(drop)
}

/// The one object of an answer.
pub(super) fn one<T: Object>(body: &[u8]) -> Result<T, String> {
    let fields = fields(body)?;
    let raw = fields.get(T::ONE).ok_or_else(|| format!("the answer has no `{}`", T::ONE))?;
    T::read(raw).map_err(|error| format!("`{}` cannot be read: {}", T::ONE, unquoted(&error)))
}

/// One page of a list.
pub(super) fn page<T: Object>(body: &[u8]) -> Result<Page<T>, String> {
    let fields = fields(body)?;
    let raw = fields.get(T::MANY).ok_or_else(|| format!("the answer has no `{}`", T::MANY))?;
    let pagination: Pagination = match fields.get("pagination") {
        Some(raw) => parse::<Option<_>>(raw, "pagination")?.unwrap_or_default(),
        None => Pagination::default(),
    };
    let next = pagination.next_page_cursor.filter(|_| pagination.has_next_page != Some(false));
    if pagination.has_next_page == Some(true) && next.is_none() {
        return Err("there is a next page, and no cursor to it".to_owned());
    }
    Ok(Page { items: elements(raw)?, next })
}

/// The credentials in `{"batch": {"acs_credentials": […]}}`; kinds that none is related by are left out there.
pub(super) fn batch(body: &[u8]) -> Result<Vec<Credential>, String> {
    let fields = fields(body)?;
    let raw = fields.get("batch").ok_or("the answer has no `batch`")?;
    let kinds: HashMap<String, Box<RawValue>> = parse(raw, "batch")?;
    kinds.get(Credential::MANY).map_or_else(|| Ok(Vec::new()), |raw| elements(raw))
}

/// The top-level fields of an answer that claims success.
fn fields(body: &[u8]) -> Result<HashMap<String, Box<RawValue>>, String> {
    if let Some(error) = SeamError::of_body(body) {
        return Err(format!("success with an error inside: {}: {}", error.kind, error.message));
    }
    let fields: HashMap<String, Box<RawValue>> =
        serde_json::from_slice(body).map_err(|error| format!("not a JSON object: {}", unquoted(&error)))?;
    if fields.get("ok").is_some_and(|ok| ok.get() == "false") {
        return Err("success that says `ok: false`".to_owned());
    }
    Ok(fields)
}

fn elements<T: Object>(raw: &RawValue) -> Result<Vec<T>, String> {
    let raws: Vec<Box<RawValue>> = parse(raw, T::MANY)?;
    let read = |(index, raw): (usize, Box<RawValue>)| {
        T::read(&raw).map_err(|error| {
            format!("`{}[{index}]` ({}) cannot be read: {}", T::MANY, id_of::<T>(&raw), unquoted(&error))
        })
    };
    raws.into_iter().enumerate().map(read).collect()
}

/// The id of an element that cannot be read otherwise.
fn id_of<T: Object>(raw: &RawValue) -> String {
    let object: Option<HashMap<String, serde_json::Value>> = serde_json::from_str(raw.get()).ok();
    let id = object.as_ref().and_then(|object| object.get(T::ID)?.as_str());
    id.map_or_else(|| format!("no {}", T::ID), cleaned)
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue, name: &str) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| format!("`{name}` cannot be read: {}", unquoted(&error)))
}

/// What was wrong without the value that was: of serde's texts, only "missing field" quotes nothing but our own names.
fn unquoted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        return text;
    }
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "a value is not of its kind",
    };
    format!("{what}, line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{ListedEvent, Phone};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    fn credential() -> Value {
        json!({
            "acs_credential_id": "c1", "acs_system_id": "s1", "access_method": "mobile_key",
            "created_at": "2026-03-01T10:40:00.000Z",
        })
    }

    fn read(change: &Value) -> Result<Credential, String> {
        let mut object = credential();
        for (name, value) in change.as_object().into_iter().flatten() {
            object[name] = value.clone();
        }
        one(json!({ "acs_credential": object, "ok": true }).to_string().as_bytes())
    }

    #[test]
    fn what_seam_may_leave_out_has_its_default_and_what_it_may_add_passes() {
        let bare = read(&json!({})).expect("a credential");
        assert!(bare.is_usable && !bare.is_issued && !bare.is_multi_phone_sync_credential);
        let nulls = read(&json!({ "is_issued": null, "errors": null, "warnings": null, "visionline_metadata": null }));
        assert_eq!(nulls.as_ref(), Ok(&bare));
        let newer =
            read(&json!({ "access_method": "retina", "new": { "field": 1 }, "warnings": [{ "warning_code": "new" }] }));
        assert_eq!(newer.expect("a credential").access_method, "retina");
    }

    #[test]
    fn a_credential_on_its_way_out_is_not_usable() {
        let usable = |change: Value| read(&change).expect("a credential").is_usable;
        assert!(usable(json!({ "visionline_metadata": { "is_valid": true } })));
        assert!(usable(json!({ "warnings": [{ "warning_code": "waiting_to_be_issued" }] })));
        assert!(!usable(json!({ "visionline_metadata": { "is_valid": false } })));
        assert!(!usable(json!({ "warnings": [{}, { "warning_code": "being_deleted" }] })));
    }

    #[test]
    fn a_time_is_read_in_any_notation_or_refused_but_never_dropped() {
        let expected: Timestamp = "2026-03-04T10:40:00Z".parse().expect("a timestamp");
        for text in
            ["2026-03-04T10:40:00.000Z", "2026-03-04T12:40:00+02:00", "2026-03-04 10:40:00Z", "2026-03-04T10:40:00"]
        {
            assert_eq!(read(&json!({ "ends_at": text })).expect(text).ends_at, Some(expected), "{text}");
        }
        assert!(read(&json!({ "ends_at": "next week" })).is_err());
    }

    #[test]
    fn an_unreadable_element_is_named_and_spoils_its_list() {
        let mut bad = credential();
        bad["acs_credential_id"] = json!("c2");
        bad["created_at"] = json!("jane@example.com");
        let body = json!({ "acs_credentials": [credential(), bad], "ok": true }).to_string();
        let error = page::<Credential>(body.as_bytes()).expect_err("refused");
        assert!(error.starts_with("`acs_credentials[1]` (c2) cannot be read: "), "{error}");
        assert!(!error.contains("jane"), "a value is quoted: {error}");
    }

    #[test]
    fn an_answer_must_be_the_answer() {
        for (body, why) in [
            ("<html></html>", "not a JSON object: it is not JSON, line 1 column 1"),
            ("[]", "not a JSON object: a value is not of its kind, line 1 column 0"),
            (r#"{"acs_credential": {"#, "not a JSON object: it ends too early, line 1 column 20"),
            (r#"{"phone": {}, "ok": true}"#, "the answer has no `acs_credential`"),
            (
                r#"{"acs_credential": {}, "ok": true}"#,
                "`acs_credential` cannot be read: missing field `acs_credential_id`",
            ),
            (r#"{"error": {"type": "x", "message": "y"}}"#, "success with an error inside: x: y"),
            (r#"{"ok": false}"#, "success that says `ok: false`"),
        ] {
            let error = one::<Credential>(body.as_bytes()).expect_err(body);
            assert!(error.starts_with(why), "{body}: {error}");
        }
        assert_eq!(void(br#"{"ok": true}"#), Ok(()));
        assert_eq!(void(br#"{"ok": true, "acs_credential": {}}"#), Ok(()));
    }

    #[test]
    fn a_page_says_where_the_next_one_is() {
        let next = |pagination: Value| {
            let body = json!({ "phones": [], "pagination": pagination }).to_string();
            page::<Phone>(body.as_bytes()).map(|page| page.next)
        };
        assert_eq!(next(Value::Null), Ok(None));
        assert_eq!(next(json!({ "has_next_page": false, "next_page_cursor": null })), Ok(None));
        assert_eq!(next(json!({ "has_next_page": true, "next_page_cursor": "x" })), Ok(Some("x".into())));
        assert!(next(json!({ "has_next_page": true, "next_page_cursor": null })).is_err(), "a partial list");
    }

    #[test]
    fn an_event_is_kept_as_it_stands() {
        let event =
            r#"{ "event_id":"e1",  "event_type":"new.kind", "occurred_at":"2026-03-01T10:40:05.356Z", "b":1.0 }"#;
        let page = page::<ListedEvent>(format!(r#"{{"events": [{event}]}}"#).as_bytes()).expect("a page");
        assert_eq!(page.items[0].body, event);
    }
}
