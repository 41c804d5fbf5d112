//! The bodies that the API answers with, as `schemas/api/openapi.json` describes them. Its clients read the same types.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::domain::{self, FieldError, PlanSpec};
use crate::store::{self, EventRecord};

/// A moment, always written with milliseconds and Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorDetail {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
}

/// A page of a list, under its plural.
macro_rules! page {
    ($name:ident, $plural:ident, $item:ty, $next:ty) => {
        #[derive(Debug, Serialize, Deserialize)]
        pub struct $name {
            pub $plural: Vec<$item>,
            pub next: $next,
        }
    };
}

page!(Plans, plans, Plan, Option<String>);
page!(Issuances, issuances, Issuance, Option<String>);
page!(Events, events, Event, Option<String>);
page!(ParkedItems, parked, ParkedItem, Option<String>);

#[derive(Debug, Serialize, Deserialize)]
pub struct Ledger {
    pub ledger: Vec<LedgerLine>,
    pub next: i64,
    /// The first line that is still there: what was before it was too old, and is gone. Left out while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub plan_key: String,
    pub status: String,
    pub put_at: Time,
    pub deleted_at: Option<Time>,
    pub spec: PlanSpec,
    /// Why nobody has checked the ids in the spec, where the provider could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified: Option<String>,
}

impl From<(domain::Plan, domain::Issuance)> for Plan {
    fn from((plan, issuance): (domain::Plan, domain::Issuance)) -> Self {
        Self {
            plan_key: plan.key,
            status: issuance.status.as_str().to_owned(),
            put_at: Time(plan.put_at),
            deleted_at: plan.deleted_at.map(Time),
            spec: plan.spec,
            unverified: None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Issuance {
    pub plan_key: String,
    pub status: String,
    pub user_identity_id: String,
    pub acs_user_id: Option<String>,
    pub acs_credential_id: Option<String>,
    pub attempts: u32,
    pub overdue: bool,
    pub error: Option<String>,
    pub phones: Vec<PhoneKey>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PhoneKey {
    pub device_id: String,
    pub status: String,
    pub acs_credential_id: Option<String>,
    pub issued_at: Option<Time>,
}

impl Issuance {
    pub(super) fn new(issuance: domain::Issuance, phones: Vec<PhoneKey>) -> Self {
        Self {
            plan_key: issuance.plan_key,
            status: issuance.status.as_str().to_owned(),
            user_identity_id: issuance.user_identity_id,
            acs_user_id: issuance.acs_user_id,
            acs_credential_id: issuance.acs_credential_id,
            attempts: issuance.attempts,
            overdue: issuance.overdue,
            error: issuance.error,
            phones,
        }
    }
}

impl From<domain::PhoneKey> for PhoneKey {
    fn from(key: domain::PhoneKey) -> Self {
        Self {
            device_id: key.device_id,
            status: key.status.as_str().to_owned(),
            acs_credential_id: key.acs_credential_id,
            issued_at: key.issued_at.map(Time),
        }
    }
}

/// What is known of a person.
#[derive(Debug, Serialize, Deserialize)]
pub struct Person {
    pub user_identity_id: String,
    pub phones: Vec<Phone>,
    pub plans: Vec<Plan>,
    pub issuances: Vec<Issuance>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Phone {
    pub device_id: String,
    pub device_type: Option<String>,
    pub is_active: bool,
}

impl From<domain::Phone> for Phone {
    fn from(phone: domain::Phone) -> Self {
        Self { device_id: phone.device_id, device_type: phone.device_type, is_active: phone.is_active }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Event {
    pub source: String,
    pub event_id: String,
    pub event_type: String,
    pub occurred_at: Time,
    pub received_at: Time,
    pub state: String,
    pub attempts: u32,
    /// When it will be handled (again), while its state is `due`.
    pub due_at: Option<Time>,
    pub why: Option<String>,
    pub ended_at: Option<Time>,
}

impl From<EventRecord> for Event {
    fn from(event: EventRecord) -> Self {
        Self {
            due_at: (event.state == "due").then_some(Time(event.due_at)),
            source: event.source,
            event_id: event.event_id,
            event_type: event.event_type,
            occurred_at: Time(event.occurred_at),
            received_at: Time(event.received_at),
            state: event.state,
            attempts: event.attempts,
            why: event.why,
            ended_at: event.ended_at.map(Time),
        }
    }
}

/// What does not apply to a line is left out of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerLine {
    pub seq: i64,
    pub at: Time,
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_identity_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs_credential_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl From<store::LedgerLine> for LedgerLine {
    fn from(line: store::LedgerLine) -> Self {
        Self {
            seq: line.seq,
            at: Time(line.at),
            kind: line.kind,
            source: line.source,
            event_type: line.event_type,
            event_id: line.event_id,
            plan_key: line.plan_key,
            user_identity_id: line.user_identity_id,
            device_id: line.device_id,
            acs_credential_id: line.acs_credential_id,
            why: line.why,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ParkedItem {
    pub id: i64,
    pub source: String,
    pub delivery_id: String,
    /// Null where the delivery could not be read, so that nobody knows which event it is.
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    pub why: String,
    pub received_at: Time,
    pub headers: BTreeMap<String, String>,
    pub body_base64: String,
}

/// What became of a parked item.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settled {
    pub id: i64,
    /// `released` or `discarded`.
    pub state: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    pub at: Time,
    pub ready: bool,
    pub checks: Vec<Checked>,
    pub inbox: Inbox,
    pub calls: Calls,
    pub parked: i64,
    pub issuances: BTreeMap<String, i64>,
    /// Of these: how many have a phone that has waited too long for its key.
    pub overdue: i64,
    pub phone_keys: BTreeMap<String, i64>,
    pub sources: Vec<Source>,
    pub ledger_head: i64,
}

/// A sender, as far as it has sent anything or this process receives it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    /// How old the last signature was when it came; negative: how early.
    pub clock_skew_seconds: Option<i64>,
    pub secrets: Vec<Secret>,
}

/// By its name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Secret {
    pub name: String,
    /// Whether a webhook may be signed with it now; `None` where this process receives none.
    pub configured: Option<bool>,
    /// How many events it has proven, their copies included.
    pub events: i64,
    pub first_used_at: Option<Time>,
    pub last_used_at: Option<Time>,
    /// See [`domain::SecretUse::is_safe_to_remove`].
    pub safe_to_remove: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Checked {
    pub name: String,
    pub ok: bool,
    /// Whether the process is ready only with it.
    pub vital: bool,
    pub why: Option<String>,
}

/// Calls to the provider, of all processes that share the store.
#[derive(Debug, Serialize, Deserialize)]
pub struct Calls {
    /// Events that may be at work at once.
    pub in_flight_max: u32,
    /// Null where there is no limit.
    pub rate: Option<CallRate>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct CallRate {
    pub per_second_max: u32,
    /// Calls that may begin at once after a rest.
    pub burst_max: u32,
    /// How many of these are used up: all of them means that calls wait.
    pub burst_used: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Inbox {
    pub waiting: i64,
    pub retrying: i64,
    pub in_flight: i64,
    pub oldest_received_at: Option<Time>,
    pub oldest_age_seconds: Option<i64>,
    /// Why events are retried, the most frequent reasons first.
    pub reasons: Vec<Reason>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Reason {
    pub why: String,
    pub count: i64,
}
