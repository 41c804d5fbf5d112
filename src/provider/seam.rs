//! The Seam client: one function per call, one attempt each.
//!
//! Ids travel in bodies, never in paths. Each attempt is logged once, at debug, and counted; what its failure means is
//! `error`'s to say, and whether to try again the worker's.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::attempt::Sender;
use super::error::{Call, Failure, judge};
use super::settings::Settings;
use super::wire::{self, EnrollmentAutomation, Entrance, Object, UserIdentity};
use super::{
    AcsSystem, AcsUser, Credential, CredentialFilter, ListedEvent, NewCredential, Phone, Provider, ProviderError,
};
use crate::clock::Clock;
use crate::domain::Person;
use crate::domain::event::SEAM_EVENT_TYPES;

const CREDENTIALS_CREATE: Call = Call::once("/acs/credentials/create");
const CREDENTIALS_GET: Call = Call::repeatable("/acs/credentials/get");
const CREDENTIALS_LIST: Call = Call::repeatable("/acs/credentials/list");
const CREDENTIALS_UPDATE: Call = Call::repeatable("/acs/credentials/update");
const CREDENTIALS_DELETE: Call = Call::repeatable("/acs/credentials/delete");
const CREDENTIALS_ENTRANCES: Call = Call::repeatable("/acs/credentials/list_accessible_entrances");
const ENTRANCES_LIST: Call = Call::repeatable("/acs/entrances/list");
const ACCESS_METHODS_RELATED: Call = Call::repeatable("/access_methods/get_related");
const PHONES_LIST: Call = Call::repeatable("/phones/list");
const PHONES_GET: Call = Call::repeatable("/phones/get");
const USER_IDENTITIES_GET: Call = Call::repeatable("/user_identities/get");
const ACS_USERS_GET: Call = Call::repeatable("/acs/users/get");
const ACS_USERS_LIST: Call = Call::repeatable("/acs/users/list");
const ACS_SYSTEMS_GET: Call = Call::repeatable("/acs/systems/get");
const EVENTS_LIST: Call = Call::repeatable("/events/list");
const ENROLLMENT_LIST: Call = Call::repeatable("/user_identities/enrollment_automations/list");
const ENROLLMENT_LAUNCH: Call = Call::once("/user_identities/enrollment_automations/launch");

/// Events asked for at a time: Seam's own default, said aloud because the end of the list is told by a short page.
const EVENTS_PER_PAGE: usize = 500;

/// Seam, or anything that speaks like it.
pub struct SeamClient {
    pub(super) sender: Sender,
    pages_max: usize,
    pub(super) retry_after_max: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl SeamClient {
    /// `clock` is what a `Retry-After` date is compared with. Fails only where TLS cannot be set up.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>) -> reqwest::Result<Self> {
        if settings.endpoint.is_exposed() {
            let host = settings.endpoint.host();
            tracing::warn!(host, "the provider is called over plain http: the API key can be read on the way");
        }
        let (pages_max, retry_after_max) = (settings.pages_max, settings.retry_after_max);
        Ok(Self { sender: Sender::new(settings)?, pages_max, retry_after_max, clock })
    }

    /// One attempt, decoded, judged, logged and counted.
    async fn call<T>(
        &self,
        call: Call,
        request: &(impl Serialize + Sync),
        decode: fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, ProviderError> {
        let started = Instant::now();
        let attempt = self.sender.post(call, request).await;
        let duration = started.elapsed();
        let result = attempt
            .outcome
            .and_then(|body| decode(&body).map_err(Failure::Unreadable))
            .map_err(|failure| judge(call, failure, self.clock.now(), self.retry_after_max));
        let outcome = outcome_of(&result);
        tracing::debug!(
            path = call.path,
            outcome,
            status = attempt.status,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            seam_request_id = attempt.request_id,
            "called the provider"
        );
        metrics::counter!("keyferry_provider_calls_total", "call" => call.path, "outcome" => outcome).increment(1);
        metrics::histogram!("keyferry_provider_call_duration_seconds", "call" => call.path).record(duration);
        result
    }

    async fn one<T: Object>(&self, call: Call, request: &Value) -> Result<T, ProviderError> {
        self.call(call, request, wire::one).await
    }

    /// A whole list: every page, or an error.
    async fn list<T: Object>(&self, call: Call, mut request: Value) -> Result<Vec<T>, ProviderError> {
        let mut items = Vec::new();
        for _ in 0..self.pages_max {
            let page = self.call(call, &request, wire::page::<T>).await?;
            items.extend(page.items);
            match page.next {
                Some(cursor) => request["page_cursor"] = Value::String(cursor),
                None => return Ok(items),
            }
        }
        Err(self.too_long(call))
    }

    fn too_long(&self, call: Call) -> ProviderError {
        call.uncertain(format!("the list has more than {} pages", self.pages_max), None)
    }
}

fn outcome_of<T>(result: &Result<T, ProviderError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(ProviderError::Transient { .. }) => "transient",
        Err(ProviderError::Permanent { .. }) => "permanent",
        Err(ProviderError::Unknown { .. }) => "unknown",
        Err(ProviderError::Held { .. }) => "held",
    }
}

fn ids(entrances: Vec<Entrance>) -> Vec<String> {
    entrances.into_iter().map(|entrance| entrance.id).collect()
}

/// The conditions that are given; Seam reads an explicit `null` as a condition of its own.
fn conditions(filter: &CredentialFilter) -> Value {
    let CredentialFilter { acs_user_id, user_identity_id, acs_system_id, is_multi_phone_sync_credential } = filter;
    let all = [
        ("acs_user_id", acs_user_id.as_deref().map(Value::from)),
        ("user_identity_id", user_identity_id.as_deref().map(Value::from)),
        ("acs_system_id", acs_system_id.as_deref().map(Value::from)),
        ("is_multi_phone_sync_credential", is_multi_phone_sync_credential.map(Value::from)),
    ];
    let given = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect())
}

#[async_trait]
impl Provider for SeamClient {
    async fn create_credential(&self, new: &NewCredential) -> Result<Credential, ProviderError> {
        self.call(CREDENTIALS_CREATE, new, wire::one).await
    }

    async fn get_credential(&self, acs_credential_id: &str) -> Result<Credential, ProviderError> {
        self.one(CREDENTIALS_GET, &json!({ "acs_credential_id": acs_credential_id })).await
    }

    async fn list_credentials(&self, filter: &CredentialFilter) -> Result<Vec<Credential>, ProviderError> {
        self.list(CREDENTIALS_LIST, conditions(filter)).await
    }

    async fn update_credential(&self, acs_credential_id: &str, ends_at: Timestamp) -> Result<(), ProviderError> {
        let request = json!({ "acs_credential_id": acs_credential_id, "ends_at": ends_at });
        self.call(CREDENTIALS_UPDATE, &request, wire::void).await
    }

    async fn delete_credential(&self, acs_credential_id: &str) -> Result<(), ProviderError> {
        let request = json!({ "acs_credential_id": acs_credential_id });
        self.call(CREDENTIALS_DELETE, &request, wire::void).await
    }

    async fn entrances_of_credential(&self, acs_credential_id: &str) -> Result<Vec<String>, ProviderError> {
        self.list(CREDENTIALS_ENTRANCES, json!({ "acs_credential_id": acs_credential_id })).await.map(ids)
    }

    async fn entrances_of_system(&self, acs_system_id: &str) -> Result<Vec<String>, ProviderError> {
        self.list(ENTRANCES_LIST, json!({ "acs_system_id": acs_system_id })).await.map(ids)
    }

    async fn credentials_of_access_method(&self, access_method_id: &str) -> Result<Vec<Credential>, ProviderError> {
        let request = json!({ "access_method_ids": [access_method_id], "include": ["acs_credentials"] });
        self.call(ACCESS_METHODS_RELATED, &request, wire::batch).await
    }

    async fn phones_of_person(&self, user_identity_id: &str) -> Result<Vec<Phone>, ProviderError> {
        self.list(PHONES_LIST, json!({ "owner_user_identity_id": user_identity_id })).await
    }

    async fn phones_of_credential(&self, acs_credential_id: &str) -> Result<Vec<Phone>, ProviderError> {
        self.list(PHONES_LIST, json!({ "acs_credential_id": acs_credential_id })).await
    }

    async fn get_phone(&self, device_id: &str) -> Result<Phone, ProviderError> {
        self.one(PHONES_GET, &json!({ "device_id": device_id })).await
    }

    async fn find_person(&self, person: &Person) -> Result<String, ProviderError> {
        let request = match person {
            Person::UserIdentityId(id) => json!({ "user_identity_id": id }),
            Person::UserIdentityKey(key) => json!({ "user_identity_key": key }),
            // An alias is a plan's word: the provider has never heard of it.
            Person::Alias { .. } => {
                return Err(ProviderError::Permanent {
                    call: USER_IDENTITIES_GET.path,
                    status: 404,
                    error_type: "user_identity_not_found".to_owned(),
                    message: "an alias is known to plans only".to_owned(),
                });
            }
        };
        let found: UserIdentity = self.one(USER_IDENTITIES_GET, &request).await?;
        Ok(found.id)
    }

    async fn get_acs_user(&self, acs_user_id: &str) -> Result<AcsUser, ProviderError> {
        self.one(ACS_USERS_GET, &json!({ "acs_user_id": acs_user_id })).await
    }

    async fn list_acs_users(&self, user_identity_id: &str, acs_system_id: &str) -> Result<Vec<AcsUser>, ProviderError> {
        let request = json!({ "user_identity_id": user_identity_id, "acs_system_id": acs_system_id });
        self.list(ACS_USERS_LIST, request).await
    }

    async fn get_acs_system(&self, acs_system_id: &str) -> Result<AcsSystem, ProviderError> {
        self.one(ACS_SYSTEMS_GET, &json!({ "acs_system_id": acs_system_id })).await
    }

    /// Seam's event list has no cursor, only an offset that it calls unstable: an event that happens while pages are
    /// turned shifts them. A shift can repeat an event, which the ids tell, and cannot skip one.
    async fn list_events(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ListedEvent>, ProviderError> {
        let mut request =
            json!({ "between": [since, until], "event_types": SEAM_EVENT_TYPES, "limit": EVENTS_PER_PAGE });
        let (mut events, mut seen, mut offset) = (Vec::new(), HashSet::new(), 0);
        for _ in 0..self.pages_max {
            let items = self.call(EVENTS_LIST, &request, wire::page::<ListedEvent>).await?.items;
            let (listed, known) = (items.len(), events.len());
            events.extend(items.into_iter().filter(|event| seen.insert(event.event_id.clone())));
            if listed < EVENTS_PER_PAGE {
                events.sort_by(|a: &ListedEvent, b| (a.occurred_at, &a.event_id).cmp(&(b.occurred_at, &b.event_id)));
                return Ok(events);
            }
            if events.len() == known {
                return Err(EVENTS_LIST.uncertain(format!("the list does not advance past {known} events"), None));
            }
            offset += listed;
            request["unstable_offset"] = Value::from(offset);
        }
        Err(self.too_long(EVENTS_LIST))
    }

    async fn find_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<Option<String>, ProviderError> {
        let request = json!({ "user_identity_id": user_identity_id });
        let all: Vec<EnrollmentAutomation> = self.list(ENROLLMENT_LIST, request).await?;
        let mut theirs = all.into_iter().filter(|it| it.credential_manager == credential_manager_acs_system_id);
        Ok(theirs.next().map(|it| it.id))
    }

    async fn launch_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<String, ProviderError> {
        let request = json!({
            "user_identity_id": user_identity_id,
            "credential_manager_acs_system_id": credential_manager_acs_system_id,
            "create_credential_manager_user": true,
        });
        let launched: EnrollmentAutomation = self.one(ENROLLMENT_LAUNCH, &request).await?;
        Ok(launched.id)
    }
}
