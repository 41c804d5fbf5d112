//! Client sessions, the mobile SDK's phone sessions, and the enrollment automations of old.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::{About, EventType};
use super::ids::{AcsSystemId, ClientSessionId, EnrollmentAutomationId, InstantKeyId, UserIdentityId};
use super::refusal::Refusal;
use super::table::row;
use crate::clock::add;

/// How long a client session lives when its maker does not say.
const SESSION_LIVES: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A token for the app on a person's phone.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ClientSession {
    pub(crate) client_session_id: ClientSessionId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) expires_at: Timestamp,
    pub(crate) token: String,
    pub(crate) user_identity_id: Option<UserIdentityId>,
    pub(crate) user_identifier_key: Option<String>,
    pub(crate) customer_key: Option<String>,
}
row!(ClientSession, client_session_id: ClientSessionId);

impl std::fmt::Debug for ClientSession {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ClientSession").field("client_session_id", &self.client_session_id).finish_non_exhaustive()
    }
}

/// What `/client_sessions/create` says of the session to be.
#[derive(Debug, Default)]
pub(crate) struct ClientSessionDraft {
    pub(crate) user_identity_id: Option<UserIdentityId>,
    pub(crate) user_identifier_key: Option<String>,
    pub(crate) customer_key: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// "Enrol each phone of this person with this credential manager." Launched by hand until 2025, automatic since.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EnrollmentAutomation {
    pub(crate) enrollment_automation_id: EnrollmentAutomationId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) user_identity_id: UserIdentityId,
    pub(crate) credential_manager: AcsSystemId,
}
row!(EnrollmentAutomation, enrollment_automation_id: EnrollmentAutomationId);

/// A link that opens a person's keys in an app clip, through a client session of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InstantKey {
    pub(crate) instant_key_id: InstantKeyId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) client_session_id: ClientSessionId,
    pub(crate) user_identity_id: UserIdentityId,
    pub(crate) expires_at: Timestamp,
    pub(crate) code: String,
}
row!(InstantKey, instant_key_id: InstantKeyId);

impl World {
    pub(crate) fn client_session(&self, id: ClientSessionId) -> Result<&ClientSession, Refusal> {
        self.client_sessions.get(id).ok_or_else(no_client_session)
    }

    /// The living session with this token.
    pub(crate) fn session_by_token(&self, token: &str, now: Timestamp) -> Option<&ClientSession> {
        self.client_sessions.live().find(|session| session.token == token && now < session.expires_at)
    }

    pub(crate) fn create_client_session(
        &mut self,
        draft: ClientSessionDraft,
        now: Timestamp,
    ) -> Result<ClientSessionId, Refusal> {
        if let Some(person) = draft.user_identity_id {
            self.user_identity(person)?;
        }
        let client_session_id = self.chance.id();
        let token = format!("seam_cst{}_{}", self.chance.letters::<10>(), self.chance.letters::<23>());
        self.client_sessions.insert(ClientSession {
            client_session_id,
            created_at: now,
            deleted_at: None,
            expires_at: draft.expires_at.unwrap_or(add(now, SESSION_LIVES)),
            token,
            user_identity_id: draft.user_identity_id,
            user_identifier_key: draft.user_identifier_key,
            customer_key: draft.customer_key,
        });
        Ok(client_session_id)
    }

    pub(crate) fn delete_client_session(&mut self, id: ClientSessionId, now: Timestamp) -> Result<(), Refusal> {
        self.client_sessions.get_mut(id).ok_or_else(no_client_session)?.deleted_at = Some(now);
        let about = About { client_session_id: Some(id), ..About::default() };
        self.emit(EventType::ClientSessionDeleted, about, now);
        Ok(())
    }

    pub(crate) fn generate_instant_key(
        &mut self,
        person: UserIdentityId,
        now: Timestamp,
    ) -> Result<InstantKey, Refusal> {
        let draft = ClientSessionDraft { user_identity_id: Some(person), ..ClientSessionDraft::default() };
        let client_session_id = self.create_client_session(draft, now)?;
        let key = InstantKey {
            instant_key_id: self.chance.id(),
            created_at: now,
            deleted_at: None,
            client_session_id,
            user_identity_id: self.user_identity(person)?.user_identity_id,
            expires_at: self.client_session(client_session_id)?.expires_at,
            code: self.chance.letters::<6>(),
        };
        self.instant_keys.insert(key.clone());
        Ok(key)
    }

    pub(crate) fn enrollment_automation(&self, id: EnrollmentAutomationId) -> Result<&EnrollmentAutomation, Refusal> {
        self.enrollment_automations.get(id).ok_or_else(no_automation)
    }

    /// Launches an automation; for a person and a manager that have one, that one is the answer. Phones which nobody
    /// has invited yet are invited.
    pub(crate) fn launch_enrollment(
        &mut self,
        person: UserIdentityId,
        manager: AcsSystemId,
        now: Timestamp,
    ) -> Result<EnrollmentAutomationId, Refusal> {
        let person = self.user_identity(person)?.user_identity_id;
        if !self.acs_system(manager)?.family().is_credential_manager() {
            return Err(Refusal::field(
                "credential_manager_acs_system_id",
                "Access system is not a credential manager",
            ));
        }
        let running = self
            .enrollment_automations
            .live()
            .find(|automation| automation.user_identity_id == person && automation.credential_manager == manager);
        if let Some(running) = running {
            return Ok(running.enrollment_automation_id);
        }
        let id = self.chance.id();
        self.enrollment_automations.insert(EnrollmentAutomation {
            enrollment_automation_id: id,
            created_at: now,
            deleted_at: None,
            user_identity_id: person,
            credential_manager: manager,
        });
        for phone in self.user_identity(person)?.phones.clone() {
            self.invite(phone, now);
        }
        Ok(id)
    }

    pub(crate) fn delete_enrollment(&mut self, id: EnrollmentAutomationId, now: Timestamp) -> Result<(), Refusal> {
        self.enrollment_automations.get_mut(id).ok_or_else(no_automation)?.deleted_at = Some(now);
        let about = About { enrollment_automation_id: Some(id), ..About::default() };
        self.emit(EventType::EnrollmentAutomationDeleted, about, now);
        Ok(())
    }

    pub(super) fn is_enrolled(&self, person: UserIdentityId) -> bool {
        self.enrollment_automations.live().any(|automation| automation.user_identity_id == person)
    }

    /// Ends a person's automations, sessions and access grants.
    pub(super) fn delete_what_hangs_on(&mut self, person: UserIdentityId, now: Timestamp) {
        let automations = self.enrollment_automations.live().filter(|row| row.user_identity_id == person);
        let automations: Vec<_> = automations.map(|row| row.enrollment_automation_id).collect();
        let sessions = self.client_sessions.live().filter(|row| row.user_identity_id == Some(person));
        let sessions: Vec<_> = sessions.map(|row| row.client_session_id).collect();
        let grants = self.access_grants.live().filter(|row| row.user_identity_id == person);
        let grants: Vec<_> = grants.map(|row| row.access_grant_id).collect();
        // Each id was read from a live row a moment ago, so none of these can be missing.
        for id in grants {
            let _ = self.delete_access_grant(id, now);
        }
        for id in automations {
            let _ = self.delete_enrollment(id, now);
        }
        for id in sessions {
            let _ = self.delete_client_session(id, now);
        }
    }
}

fn no_client_session() -> Refusal {
    Refusal::not_found("client_session", "Client session")
}

fn no_automation() -> Refusal {
    Refusal::not_found("enrollment_automation", "Enrollment automation")
}
