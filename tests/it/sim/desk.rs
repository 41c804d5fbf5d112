//! The provider's desk: the sandbox's own router, called in the same process, behind the [`Provider`] trait.
//!
//! What [`SeamClient`](keyferry::provider::SeamClient) does over HTTP is done here without it: a call, and its answer
//! decoded or judged. Each call passes a gate on either side, where the schedule may lose the request or the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jiff::Timestamp;
use keyferry::domain::Person;
use keyferry::provider::{
    AcsSystem, AcsUser, Credential, CredentialFilter, ListedEvent, NewCredential, Phone, Provider, ProviderError,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::planted::Bug;
use super::process::{Order, Process, Side};

/// The calls that make something each time.
pub(super) const CREATE: &str = "/acs/credentials/create";
const LAUNCH: &str = "/user_identities/enrollment_automations/launch";
const UPDATE: &str = "/acs/credentials/update";
const DELETE: &str = "/acs/credentials/delete";

/// The calls that change anything.
pub(super) const CHANGING: [&str; 4] = [CREATE, UPDATE, DELETE, LAUNCH];

/// Where the sandbox is asked.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) router: Router,
    pub(super) api_key: String,
    pub(super) books: Books,
}

impl Desk {
    /// A call that goes through, whoever makes it.
    pub(super) async fn call(&self, path: &'static str, body: &Value) -> Result<Value, ProviderError> {
        let request = Request::post(path)
            .header(AUTHORIZATION, format!("Bearer {}", self.api_key))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
        if status.is_success() {
            return Ok(answer);
        }
        let text = |field: &str| answer["error"][field].as_str().unwrap_or_default().to_owned();
        Err(ProviderError::Permanent {
            call: path,
            status: status.as_u16(),
            error_type: text("type"),
            message: format!("{} {}", text("message"), answer["error"]["validation_errors"]),
        })
    }

    pub(super) async fn world(&self) -> Value {
        let request = Request::get("/_sandbox/world").body(Body::empty()).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// What has happened at the provider, after the first `known` events.
    pub(super) async fn events(&self, known: usize) -> Vec<Value> {
        let body = json!({"since": "2000-01-01T00:00:00Z", "unstable_offset": known});
        let mut answer = self.call("/events/list", &body).await.expect("events");
        let Value::Array(events) = answer["events"].take() else { panic!("no list") };
        events
    }
}

/// What the provider has really done, as its own events tell it: no worker's word counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Books(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
pub(super) struct Entries {
    /// The parents that were made, each with what it is for, and whether it lives.
    pub(super) parents: BTreeMap<String, (Stay, bool)>,
    /// The credentials, children too, that the provider's own object says are, or were, issued.
    pub(super) issued: BTreeSet<String>,
    /// The credentials that somebody has said are issued.
    pub(super) said_issued: BTreeSet<String>,
    /// The call that is about to be made is made by somebody who stood still for longer than a call may take.
    pub(super) is_late: bool,
    /// What such calls made, and what no worker can therefore keep to one: see `tests/it/worker/pause.rs`.
    pub(super) excused: BTreeSet<Stay>,
}

/// What a credential is for. Plans that are alike share it.
pub(super) type Stay = (String, String);

impl Books {
    pub(super) fn open(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("no panic under the lock")
    }
}

pub(super) fn stay(acs_user_id: &str, starts_at: Timestamp) -> Stay {
    (acs_user_id.to_owned(), format!("{starts_at:.3}"))
}

/// A worker's line to the desk.
pub(super) struct Line {
    pub(super) desk: Desk,
    pub(super) process: Process,
    pub(super) bug: Option<Bug>,
}

impl Line {
    /// One attempt. A call that makes something and whose end nobody knows is `Unknown`, as with the real client.
    async fn call(&self, path: &'static str, body: Value) -> Result<Value, ProviderError> {
        let answer = self.attempt(path, body).await;
        match answer {
            Err(ProviderError::Unknown { call, why }) if self.bug == Some(Bug::BlindRetry) => {
                Err(ProviderError::Transient { call, why, retry_after: None })
            }
            answer => answer,
        }
    }

    async fn attempt(&self, path: &'static str, body: Value) -> Result<Value, ProviderError> {
        match self.process.pass(Side::Before, path).await {
            Order::Go => {}
            Order::Lost => return Err(lost(path)),
            Order::Refused(error) => return Err(error),
        }
        let answer = self.desk.call(path, &body).await;
        if let (CREATE, Ok(made)) = (path, &answer) {
            self.enter(&made["acs_credential"], &body);
        }
        match self.process.pass(Side::After, path).await {
            Order::Go | Order::Refused(_) => answer,
            Order::Lost => Err(lost(path)),
        }
    }

    fn enter(&self, made: &Value, body: &Value) {
        let starts_at = time(&body["starts_at"]).expect("every plan has a start");
        let stay = stay(&text(made, "acs_user_id"), starts_at);
        let mut entries = self.desk.books.open();
        if entries.is_late {
            entries.excused.insert(stay.clone());
        }
        entries.parents.insert(text(made, "acs_credential_id"), (stay, true));
    }

    fn credential(&self, object: &Value) -> Credential {
        let mut read = credential(object);
        if self.bug == Some(Bug::EventTrusted) {
            read.is_issued |= self.desk.books.open().said_issued.contains(&read.acs_credential_id);
        }
        read
    }

    fn real<'a>(&self, acs_credential_id: &'a str) -> &'a str {
        match self.bug {
            Some(Bug::Alias) => acs_credential_id.strip_prefix(ALIAS).unwrap_or(acs_credential_id),
            _ => acs_credential_id,
        }
    }

    async fn phones(&self, body: Value) -> Result<Vec<Phone>, ProviderError> {
        let answer = self.call("/phones/list", body).await?;
        Ok(list(&answer, "phones").iter().map(phone).collect())
    }
}

/// Under which name a credential of anybody's is shown to who asks after a lost call.
const ALIAS: &str = "alias-of-";

#[async_trait]
impl Provider for Line {
    async fn create_credential(&self, new: &NewCredential) -> Result<Credential, ProviderError> {
        let answer = self.call(CREATE, serde_json::to_value(new).expect("JSON")).await?;
        Ok(self.credential(&answer["acs_credential"]))
    }

    async fn get_credential(&self, acs_credential_id: &str) -> Result<Credential, ProviderError> {
        let body = json!({"acs_credential_id": self.real(acs_credential_id)});
        let answer = self.call("/acs/credentials/get", body).await?;
        let read = self.credential(&answer["acs_credential"]);
        Ok(Credential { acs_credential_id: acs_credential_id.to_owned(), ..read })
    }

    async fn list_credentials(&self, filter: &CredentialFilter) -> Result<Vec<Credential>, ProviderError> {
        let mut body = json!({});
        let given = [
            ("acs_user_id", filter.acs_user_id.as_ref().map(|id| json!(id))),
            ("user_identity_id", filter.user_identity_id.as_ref().map(|id| json!(id))),
            ("acs_system_id", filter.acs_system_id.as_ref().map(|id| json!(id))),
            ("is_multi_phone_sync_credential", filter.is_multi_phone_sync_credential.map(|is| json!(is))),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let answer = self.call("/acs/credentials/list", body).await?;
        let mut listed: Vec<Credential> =
            list(&answer, "acs_credentials").iter().map(|it| self.credential(it)).collect();
        if self.bug == Some(Bug::Alias) && filter.is_multi_phone_sync_credential.is_some() {
            for it in &mut listed {
                it.acs_credential_id.insert_str(0, ALIAS);
            }
        }
        Ok(listed)
    }

    async fn update_credential(&self, acs_credential_id: &str, ends_at: Timestamp) -> Result<(), ProviderError> {
        let body = json!({"acs_credential_id": self.real(acs_credential_id), "ends_at": ends_at});
        self.call(UPDATE, body).await.map(drop)
    }

    async fn delete_credential(&self, acs_credential_id: &str) -> Result<(), ProviderError> {
        let body = json!({"acs_credential_id": self.real(acs_credential_id)});
        self.call(DELETE, body).await.map(drop)
    }

    async fn entrances_of_credential(&self, acs_credential_id: &str) -> Result<Vec<String>, ProviderError> {
        let body = json!({"acs_credential_id": self.real(acs_credential_id)});
        let answer = self.call("/acs/credentials/list_accessible_entrances", body).await?;
        Ok(list(&answer, "acs_entrances").iter().map(|it| text(it, "acs_entrance_id")).collect())
    }

    async fn entrances_of_system(&self, acs_system_id: &str) -> Result<Vec<String>, ProviderError> {
        let answer = self.call("/acs/entrances/list", json!({"acs_system_id": acs_system_id})).await?;
        Ok(list(&answer, "acs_entrances").iter().map(|it| text(it, "acs_entrance_id")).collect())
    }

    async fn credentials_of_access_method(&self, access_method_id: &str) -> Result<Vec<Credential>, ProviderError> {
        let body = json!({"access_method_ids": [access_method_id], "include": ["acs_credentials"]});
        let answer = self.call("/access_methods/get_related", body).await?;
        Ok(list(&answer["batch"], "acs_credentials").iter().map(|it| self.credential(it)).collect())
    }

    async fn phones_of_person(&self, user_identity_id: &str) -> Result<Vec<Phone>, ProviderError> {
        self.phones(json!({"owner_user_identity_id": user_identity_id})).await
    }

    async fn phones_of_credential(&self, acs_credential_id: &str) -> Result<Vec<Phone>, ProviderError> {
        self.phones(json!({"acs_credential_id": self.real(acs_credential_id)})).await
    }

    async fn get_phone(&self, device_id: &str) -> Result<Phone, ProviderError> {
        let answer = self.call("/phones/get", json!({"device_id": device_id})).await?;
        Ok(phone(&answer["phone"]))
    }

    async fn find_person(&self, person: &Person) -> Result<String, ProviderError> {
        let body = match person {
            Person::UserIdentityId(id) => json!({"user_identity_id": id}),
            Person::UserIdentityKey(key) => json!({"user_identity_key": key}),
            Person::Alias { .. } => panic!("an alias is a plan's word; the provider is never asked for it"),
        };
        let answer = self.call("/user_identities/get", body).await?;
        Ok(text(&answer["user_identity"], "user_identity_id"))
    }

    async fn get_acs_user(&self, acs_user_id: &str) -> Result<AcsUser, ProviderError> {
        let answer = self.call("/acs/users/get", json!({"acs_user_id": acs_user_id})).await?;
        Ok(acs_user(&answer["acs_user"]))
    }

    async fn list_acs_users(&self, user_identity_id: &str, acs_system_id: &str) -> Result<Vec<AcsUser>, ProviderError> {
        let body = json!({"user_identity_id": user_identity_id, "acs_system_id": acs_system_id});
        let answer = self.call("/acs/users/list", body).await?;
        Ok(list(&answer, "acs_users").iter().map(acs_user).collect())
    }

    async fn get_acs_system(&self, acs_system_id: &str) -> Result<AcsSystem, ProviderError> {
        let answer = self.call("/acs/systems/get", json!({"acs_system_id": acs_system_id})).await?;
        let system = &answer["acs_system"];
        Ok(AcsSystem {
            acs_system_id: text(system, "acs_system_id"),
            name: text(system, "name"),
            is_credential_manager: system["is_credential_manager"] == true,
        })
    }

    async fn list_events(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ListedEvent>, ProviderError> {
        let answer = self.call("/events/list", json!({"between": [since, until]})).await?;
        Ok(list(&answer, "events").iter().map(event).collect())
    }

    async fn find_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<Option<String>, ProviderError> {
        let body = json!({"user_identity_id": user_identity_id});
        let answer = self.call("/user_identities/enrollment_automations/list", body).await?;
        let all = list(&answer, "enrollment_automations");
        let found = all.iter().find(|it| it["credential_manager_acs_system_id"] == credential_manager_acs_system_id);
        Ok(found.map(|it| text(it, "enrollment_automation_id")))
    }

    async fn launch_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<String, ProviderError> {
        let body = json!({
            "user_identity_id": user_identity_id,
            "credential_manager_acs_system_id": credential_manager_acs_system_id,
            "create_credential_manager_user": true,
        });
        let answer = self.call(LAUNCH, body).await?;
        Ok(text(&answer["enrollment_automation"], "enrollment_automation_id"))
    }
}

/// Without an answer, a call that makes something is of unknown outcome; any other may be repeated.
fn lost(call: &'static str) -> ProviderError {
    let why = "the connection was lost".to_owned();
    if matches!(call, CREATE | LAUNCH) {
        ProviderError::Unknown { call, why }
    } else {
        ProviderError::Transient { call, why, retry_after: None }
    }
}

pub(super) fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

pub(super) fn list<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer[field].as_array().expect("a list")
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok())
}

fn credential(object: &Value) -> Credential {
    let optional = |field: &str| object[field].as_str().map(str::to_owned);
    let warns_of = |code: &str| list(object, "warnings").iter().any(|it| it["warning_code"] == code);
    Credential {
        acs_credential_id: text(object, "acs_credential_id"),
        acs_system_id: text(object, "acs_system_id"),
        acs_user_id: optional("acs_user_id"),
        user_identity_id: optional("user_identity_id"),
        parent_acs_credential_id: optional("parent_acs_credential_id"),
        access_method: text(object, "access_method"),
        is_multi_phone_sync_credential: object["is_multi_phone_sync_credential"] == true,
        is_issued: object["is_issued"] == true,
        issued_at: time(&object["issued_at"]),
        created_at: time(&object["created_at"]).expect("a time"),
        starts_at: time(&object["starts_at"]),
        ends_at: time(&object["ends_at"]),
        is_usable: object["visionline_metadata"]["is_valid"] != false && !warns_of("being_deleted"),
        errors: vec![],
    }
}

fn phone(object: &Value) -> Phone {
    Phone {
        device_id: text(object, "device_id"),
        device_type: text(object, "device_type"),
        created_at: time(&object["created_at"]).expect("a time"),
    }
}

fn acs_user(object: &Value) -> AcsUser {
    AcsUser {
        acs_user_id: text(object, "acs_user_id"),
        acs_system_id: text(object, "acs_system_id"),
        user_identity_id: object["user_identity_id"].as_str().map(str::to_owned),
    }
}

fn event(object: &Value) -> ListedEvent {
    ListedEvent {
        event_id: text(object, "event_id"),
        event_type: text(object, "event_type"),
        occurred_at: time(&object["occurred_at"]).expect("a time"),
        body: object.to_string().into(),
    }
}
