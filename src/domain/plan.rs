//! An issuance plan: the preconfigured credential details for one ACS user and stay, under a key that the customer
//! chose. Made before any phone exists.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name;

/// A plan as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Chosen by the customer, e.g. a reservation number. 1 to 200 printable ASCII characters without `/`.
    pub key: String,
    pub spec: PlanSpec,
    pub put_at: Timestamp,
    /// Set once the plan was cancelled.
    pub deleted_at: Option<Timestamp>,
}

impl Plan {
    /// A live plan wants its credential to exist: it is not cancelled, and its end has not passed.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.deleted_at.is_none() && self.spec.ends_at.is_none_or(|end| end > now)
    }

    /// Its time is over, and nobody cancelled it before.
    #[must_use]
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.deleted_at.is_none() && !self.is_live(now)
    }
}

/// The body of `PUT /v1/plans/{key}`: `PlanSpec` in `schemas/api/openapi.json`.
///
/// Names are Seam's own (`/acs/credentials/create`); what is not Seam's says so. A kept one is read without regard to
/// fields that a newer version has put into it; a put one is read by [`PlanSpec::from_json`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanSpec {
    /// Required. An absent one is read as empty, so that it is complained of together with everything else.
    #[serde(default)]
    pub user_identity_id: String,
    /// Ours: what sources call the person, by the source's name, where they know neither Seam's id nor the customer's
    /// key: `{"origo": "3456"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acs_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acs_system_id: Option<String>,
    #[serde(default)]
    pub access_method: AccessMethod,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_manager_acs_system_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_acs_entrance_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Only for `access_method: code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Accepted in order to be refused with a reason: it belongs to one card, a plan to many phones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visionline_metadata: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assa_abloy_vostio_metadata: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salto_space_metadata: Option<Value>,
    /// Ours: when the credential is created. Left out: with the first phone for `mobile_key`, at once otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Create>,
    /// Ours: how phones are enrolled. Left out: Seam does it by itself, as it has since 2025.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment: Option<Enrollment>,
}

/// Seam's `access_method` of a credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMethod {
    /// A multi-phone sync credential: Seam replicates it to each phone of the person.
    #[default]
    MobileKey,
    Code,
    Card,
}

impl AccessMethod {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MobileKey => "mobile_key",
            Self::Code => "code",
            Self::Card => "card",
        }
    }
}

/// When a plan's credential is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Create {
    OnPhone,
    AtOnce,
}

/// How a plan's phones are enrolled with the credential manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrollment {
    /// Launch an enrollment automation, as Seam's API wanted it before 2025-07.
    LaunchAutomation,
}

/// One field that cannot stand, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    pub field: String,
    pub reason: String,
}

impl FieldError {
    #[must_use]
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl PlanSpec {
    /// Reads a body, or says which field cannot be read and why, or is none.
    pub fn from_json(body: &[u8]) -> Result<Self, FieldError> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let mut unknown = None;
        let mut note = |path: serde_ignored::Path<'_>| {
            unknown.get_or_insert_with(|| path.to_string());
        };
        let spec: Self = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(&mut reader, &mut note))
            .map_err(|error| FieldError::new(error.path().to_string(), without_value(error.inner())))?;
        reader.end().map_err(|error| FieldError::new(".", error.to_string()))?;
        match unknown {
            Some(field) => Err(FieldError::new(field, "there is no such field")),
            None => Ok(spec),
        }
    }

    #[must_use]
    pub fn creates_at_once(&self) -> bool {
        match self.create {
            Some(create) => create == Create::AtOnce,
            None => self.access_method != AccessMethod::MobileKey,
        }
    }

    /// Whether `other` asks for the same credential, its end aside: the only thing that Seam lets be changed. Aliases
    /// are no part of a credential.
    #[must_use]
    pub fn same_but_for_end(&self, other: &Self) -> bool {
        let credential = |spec: &Self| Self { ends_at: None, aliases: BTreeMap::new(), ..spec.clone() };
        credential(self) == credential(other)
    }

    /// What can be judged without asking the provider. All problems at once; empty is good.
    #[must_use]
    pub fn problems(&self, key: &str, now: Timestamp) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut say = |field: &str, reason: &str| problems.push(FieldError::new(field, reason));
        if !is_plan_key(key) {
            say("key", "a plan's key has 1 to 200 printable ASCII characters, no \"/\", and is not \".\" or \"..\"");
        }
        self.check_ids(&mut say);
        if let (Some(start), Some(end)) = (self.starts_at, self.ends_at)
            && end <= start
        {
            say("ends_at", "it is not after starts_at");
        } else if self.ends_at.is_some_and(|end| end <= now) {
            say("ends_at", "it has passed already; no credential can be created for it");
        }
        self.check_details(&mut say);
        problems
    }

    fn check_ids(&self, say: &mut impl FnMut(&str, &str)) {
        if self.user_identity_id.is_empty() {
            say("user_identity_id", "it is required: whose phones are to get the key");
        } else if !is_id(&self.user_identity_id) {
            say("user_identity_id", NOT_AN_ID);
        }
        for (field, id) in [
            ("acs_user_id", &self.acs_user_id),
            ("acs_system_id", &self.acs_system_id),
            ("credential_manager_acs_system_id", &self.credential_manager_acs_system_id),
        ] {
            if id.as_ref().is_some_and(|id| !is_id(id)) {
                say(field, NOT_AN_ID);
            }
        }
        if self.aliases.len() > ALIASES_MAX {
            say("aliases", "more than 16 aliases");
        }
        if self.aliases.iter().any(|(source, id)| !name::is_source(source) || !is_alias(id)) {
            say("aliases", NOT_AN_ALIAS);
        }
        if self.acs_user_id.is_none() && self.acs_system_id.is_none() {
            say("acs_user_id", "give acs_user_id, or acs_system_id so that Seam finds or makes the ACS user");
        }
        if self.allowed_acs_entrance_ids.len() > ENTRANCES_MAX {
            say("allowed_acs_entrance_ids", "more than 500 entrances");
        }
        if self.allowed_acs_entrance_ids.iter().any(|id| !is_id(id)) {
            say("allowed_acs_entrance_ids", NOT_AN_ID);
        }
    }

    fn check_details(&self, say: &mut impl FnMut(&str, &str)) {
        let is_mobile_key = self.access_method == AccessMethod::MobileKey;
        if self.card_number.is_some() {
            say("card_number", "a card number belongs to one card; a plan is replicated to every phone of the person");
        }
        match &self.code {
            Some(_) if is_mobile_key => {
                say("code", "a mobile key takes no code; Latch makes one itself and refuses a given one");
            }
            Some(_) if self.access_method == AccessMethod::Card => say("code", "a card takes no code"),
            Some(code) if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_digit()) => {
                say("code", "a code has digits only");
            }
            _ => {}
        }
        for (field, metadata) in [
            ("visionline_metadata", &self.visionline_metadata),
            ("assa_abloy_vostio_metadata", &self.assa_abloy_vostio_metadata),
            ("salto_space_metadata", &self.salto_space_metadata),
        ] {
            if let Some(metadata) = metadata {
                check_metadata(field, metadata, say);
            }
        }
        if self.enrollment.is_some() && (!is_mobile_key || self.credential_manager_acs_system_id.is_none()) {
            say("enrollment", "launching an automation takes a mobile_key and a credential_manager_acs_system_id");
        }
    }
}

/// Seam drops parameters that it doesn't know without a word, which is how people lose an afternoon: names that cannot
/// be Seam's are refused here instead.
fn check_metadata(field: &str, metadata: &Value, say: &mut impl FnMut(&str, &str)) {
    let Some(object) = metadata.as_object() else {
        say(field, "it is not an object");
        return;
    };
    for name in object.keys() {
        let path = format!("{field}.{name}");
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            say(
                &path,
                "Seam's names are snake_case (card_format, not cardFormat); Seam would silently ignore this one",
            );
        } else if field == "visionline_metadata" && name == "label" {
            say(&path, "Seam has no such field and would silently ignore it");
        }
    }
}

/// What is wrong, without the value that is: it may be somebody's code or name.
fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let says = |beginnings: &[&str]| beginnings.iter().any(|beginning| text.starts_with(beginning));
    if !error.is_data() || says(&["missing field ", "duplicate field "]) {
        return text;
    }
    // serde's words about a value quote it, and then say what should stand there.
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if says(&["invalid type: ", "invalid value: ", "unknown variant "]) => {
            format!("it should be {expected}")
        }
        _ => "it is not of the right form".to_owned(),
    }
}

const NOT_AN_ID: &str = "an id has 1 to 64 characters of a-z, A-Z, 0-9, - and _";
const ENTRANCES_MAX: usize = 500;
const NOT_AN_ALIAS: &str =
    "an alias stands under a source's name, a-z, 0-9 and -, and has 1 to 256 bytes without control characters";
const ALIASES_MAX: usize = 16;

fn is_alias(id: &str) -> bool {
    (1..=256).contains(&id.len()) && !id.chars().any(char::is_control)
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A key is a path segment of the API: `.` and `..` would be resolved away on their road to it.
fn is_plan_key(key: &str) -> bool {
    let is_good = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'/';
    (1..=200).contains(&key.len()) && key.bytes().all(is_good) && !matches!(key, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &str) -> Vec<String> {
        let now = "2026-02-01T00:00:00Z".parse().expect("a time");
        match PlanSpec::from_json(body.as_bytes()) {
            Ok(spec) => spec.problems("booking-1", now).into_iter().map(|problem| problem.field).collect(),
            Err(problem) => vec![format!("unreadable {}: {}", problem.field, problem.reason)],
        }
    }

    #[test]
    fn a_stay_at_a_hotel_is_a_plan() {
        let body = r#"{"user_identity_id": "u", "acs_user_id": "a", "starts_at": "2026-03-01T14:00:00Z",
            "ends_at": "2026-03-04T10:00:00Z", "visionline_metadata": {"card_format": "rfid48", "override": true}}"#;
        assert_eq!(problems(body), [""; 0]);
    }

    #[test]
    fn every_problem_is_named_at_once_with_its_field() {
        let cases = [
            (r#"{"user_identity_id": "u"}"#, vec!["acs_user_id"]),
            (
                r#"{"user_identity_id": "u", "acs_user_id": "a", "starts_at": "2026-03-04T10:00:00Z",
                  "ends_at": "2026-03-01T10:00:00Z", "code": "1234", "card_number": "7"}"#,
                vec!["ends_at", "card_number", "code"],
            ),
            (r#"{"user_identity_id": "u", "acs_user_id": "a", "ends_at": "2026-01-01T10:00:00Z"}"#, vec!["ends_at"]),
            (
                r#"{"user_identity_id": "u", "acs_user_id": "a", "visionline_metadata": {"cardFormat": "x", "label": "y"}}"#,
                vec!["visionline_metadata.cardFormat", "visionline_metadata.label"],
            ),
            (r#"{"acs_user_id": "a", "code": "7"}"#, vec!["user_identity_id", "code"]),
            (r#"{"user_identity_id": "", "acs_system_id": "a b"}"#, vec!["user_identity_id", "acs_system_id"]),
            (r#"{"user_identity_id": "u", "acs_user_id": "a", "access_method": "code", "code": "12a"}"#, vec!["code"]),
        ];
        for (body, fields) in cases {
            assert_eq!(problems(body), fields, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_path() {
        let problem = problems(r#"{"user_identity_id": "u", "acs_user_id": "a", "ends_at": "tomorrow"}"#);
        assert!(problem[0].starts_with("unreadable ends_at: "), "{problem:?}");
        let problem = problems(r#"{"user_identity_id": "u", "acs_user": "a"}"#);
        assert_eq!(problem, ["unreadable acs_user: there is no such field"]);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_repeated() {
        for (field, value) in [
            ("code", "8642753190"),
            ("code", r#"["8642753190"]"#),
            ("access_method", r#""8642753190, expected""#),
            ("ends_at", r#""8642753190""#),
            ("aliases", r#"{"a": 8642753190}"#),
            ("allowed_acs_entrance_ids", "8642753190"),
        ] {
            let problem = problems(&format!(r#"{{"user_identity_id": "u", "acs_user_id": "a", "{field}": {value}}}"#));
            assert!(problem[0].starts_with(&format!("unreadable {field}")), "{problem:?}");
            assert!(!problem[0].contains("86427"), "{problem:?}");
        }
    }
}
