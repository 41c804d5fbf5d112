//! Access grants, Seam's newer way: one says who may pass which doors, and Seam makes the credentials.
//!
//! A grant's access methods exist at once; their credentials are made when the grant is provisioned, one for each access
//! system its doors are in. A method counts as issued when each of its credentials is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::World;
use super::agenda::Due;
use super::credential::{AccessMethodMode, CredentialDraft, check_times};
use super::event::{About, EventType};
use super::family::Metadata;
use super::ids::{
    AccessGrantId, AccessMethodId, AcsCredentialId, AcsEntranceId, AcsSystemId, ClientSessionId, UserIdentityId,
};
use super::refusal::Refusal;
use super::session::ClientSessionDraft;
use super::table::row;
use crate::clock::add;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AccessGrant {
    pub(crate) access_grant_id: AccessGrantId,
    pub(crate) access_grant_key: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) user_identity_id: UserIdentityId,
    pub(crate) entrances: Vec<AcsEntranceId>,
    pub(crate) name: Option<String>,
    pub(crate) reservation_key: Option<String>,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Option<Timestamp>,
    /// In the order in which they were requested.
    pub(crate) access_methods: Vec<AccessMethodId>,
    pub(crate) client_session_id: Option<ClientSessionId>,
    pub(crate) error: Option<(String, Timestamp)>,
}
row!(AccessGrant, access_grant_id: AccessGrantId);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AccessMethod {
    pub(crate) access_method_id: AccessMethodId,
    pub(crate) access_grant_id: AccessGrantId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) mode: AccessMethodMode,
    pub(crate) code: Option<String>,
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) credentials: Vec<AcsCredentialId>,
    pub(crate) instant_key_code: Option<String>,
}
row!(AccessMethod, access_method_id: AccessMethodId);

/// What `/access_grants/create` says of the grant to be.
#[derive(Debug)]
pub(crate) struct AccessGrantDraft {
    pub(crate) user_identity_id: UserIdentityId,
    pub(crate) access_grant_key: Option<String>,
    pub(crate) entrances: Vec<AcsEntranceId>,
    pub(crate) name: Option<String>,
    pub(crate) reservation_key: Option<String>,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) methods: Vec<(AccessMethodMode, Option<String>)>,
}

impl World {
    pub(crate) fn access_grant(&self, id: AccessGrantId) -> Result<&AccessGrant, Refusal> {
        self.access_grants.get(id).ok_or_else(no_grant)
    }

    pub(crate) fn access_grant_by_key(&self, key: &str) -> Result<&AccessGrant, Refusal> {
        let mut grants = self.access_grants.live();
        grants.find(|grant| grant.access_grant_key.as_deref() == Some(key)).ok_or_else(no_grant)
    }

    pub(crate) fn access_method(&self, id: AccessMethodId) -> Result<&AccessMethod, Refusal> {
        self.access_methods.get(id).ok_or_else(|| Refusal::not_found("access_method", "Access method"))
    }

    pub(crate) fn create_access_grant(
        &mut self,
        draft: AccessGrantDraft,
        now: Timestamp,
    ) -> Result<AccessGrantId, Refusal> {
        let person = self.user_identity(draft.user_identity_id)?.user_identity_id;
        check_times(draft.starts_at, draft.ends_at, now)?;
        for entrance in &draft.entrances {
            self.acs_entrance(*entrance)?;
        }
        if draft.access_grant_key.as_deref().is_some_and(|key| self.access_grant_by_key(key).is_ok()) {
            return Err(Refusal::Conflict {
                kind: "access_grant_key_already_exists",
                message: "An access grant with this access_grant_key already exists".to_owned(),
            });
        }
        let has_mobile_key = draft.methods.iter().any(|(mode, _)| *mode == AccessMethodMode::MobileKey);
        let session = ClientSessionDraft { user_identity_id: Some(person), ..ClientSessionDraft::default() };
        let client_session_id = if has_mobile_key { Some(self.create_client_session(session, now)?) } else { None };
        let access_grant_id = self.chance.id();
        let access_methods: Vec<AccessMethodId> = draft
            .methods
            .into_iter()
            .map(|(mode, code)| self.add_access_method(access_grant_id, mode, code, now))
            .collect();
        self.access_grants.insert(AccessGrant {
            access_grant_id,
            access_grant_key: draft.access_grant_key,
            created_at: now,
            deleted_at: None,
            user_identity_id: person,
            entrances: draft.entrances,
            name: draft.name,
            reservation_key: draft.reservation_key,
            starts_at: draft.starts_at.unwrap_or(now),
            ends_at: draft.ends_at,
            access_methods: access_methods.clone(),
            client_session_id,
            error: None,
        });
        self.emit_grant(EventType::GrantCreated, access_grant_id, None, now);
        for method in access_methods {
            self.emit_method(EventType::MethodCreated, method, now);
        }
        self.agenda.note(add(now, self.rules.pace(self.rules.grant_provisioned_ms)), Due::Provision(access_grant_id));
        Ok(access_grant_id)
    }

    fn add_access_method(
        &mut self,
        grant: AccessGrantId,
        mode: AccessMethodMode,
        code: Option<String>,
        now: Timestamp,
    ) -> AccessMethodId {
        let access_method_id = self.chance.id();
        let instant_key_code = (mode == AccessMethodMode::MobileKey).then(|| self.chance.letters::<6>());
        let code = match mode {
            AccessMethodMode::Code => code.or_else(|| Some(self.chance.digits::<6>())),
            _ => None,
        };
        self.access_methods.insert(AccessMethod {
            access_method_id,
            access_grant_id: grant,
            created_at: now,
            deleted_at: None,
            mode,
            code,
            issued_at: None,
            credentials: Vec::new(),
            instant_key_code,
        });
        access_method_id
    }

    /// Makes the credentials of a grant's access methods.
    pub(super) fn provision(&mut self, id: AccessGrantId, now: Timestamp) {
        let Some(grant) = self.access_grants.get(id).cloned() else { return };
        for method in &grant.access_methods {
            let outcome = self.provision_method(&grant, *method, now);
            if let Err(refusal) = outcome {
                self.grant_failed(id, &refusal, now);
            }
        }
    }

    fn provision_method(&mut self, grant: &AccessGrant, id: AccessMethodId, now: Timestamp) -> Result<(), Refusal> {
        let Some(method) = self.access_methods.get(id) else { return Ok(()) };
        let (mode, code) = (method.mode, method.code.clone());
        for (system, entrances) in self.by_system(&grant.entrances) {
            let acs_user_id = self.acs_user_for(grant.user_identity_id, system, now)?;
            let draft = CredentialDraft {
                acs_user_id,
                access_method: mode,
                is_multi_phone_sync: mode == AccessMethodMode::MobileKey,
                credential_manager: None,
                entrances,
                starts_at: Some(grant.starts_at),
                ends_at: grant.ends_at,
                code: code.clone(),
                metadata: Metadata::new(),
                access_method_id: Some(id),
            };
            let credential = self.create_credential(draft, now)?;
            if let Some(method) = self.access_methods.get_mut(id) {
                method.credentials.push(credential);
            }
        }
        if mode == AccessMethodMode::Card {
            self.emit_method(EventType::CardEncodingRequired, id, now);
        }
        Ok(())
    }

    fn by_system(&self, entrances: &[AcsEntranceId]) -> Vec<(AcsSystemId, Vec<AcsEntranceId>)> {
        let mut systems: Vec<(AcsSystemId, Vec<AcsEntranceId>)> = Vec::new();
        for entrance in entrances.iter().filter_map(|id| self.entrances.get(*id)) {
            let (system, door) = (entrance.acs_system_id, entrance.acs_entrance_id);
            match systems.iter_mut().find(|(known, _)| *known == system) {
                Some((_, doors)) => doors.push(door),
                None => systems.push((system, vec![door])),
            }
        }
        systems
    }

    fn grant_failed(&mut self, id: AccessGrantId, refusal: &Refusal, now: Timestamp) {
        let message = match refusal {
            Refusal::NotFound { name, .. } => format!("{name} not found"),
            Refusal::Invalid { issues } => {
                issues.iter().map(|issue| issue.message.as_str()).collect::<Vec<_>>().join(", ")
            }
            Refusal::Bad { message, .. } | Refusal::Conflict { message, .. } => message.clone(),
        };
        if let Some(grant) = self.access_grants.get_mut(id) {
            grant.error = Some((message.clone(), now));
        }
        let about = About { access_grant_id: Some(id), error_message: Some(message), ..About::default() };
        self.emit(EventType::CouldNotCreateMethods, about, now);
    }

    /// Called when a credential of the method was issued.
    pub(super) fn access_method_issued(&mut self, id: AccessMethodId, now: Timestamp) {
        let Some(method) = self.access_methods.get(id).filter(|method| method.issued_at.is_none()) else { return };
        let is_issued = |id: &AcsCredentialId| self.credentials.get(*id).is_some_and(|row| row.issued_at.is_some());
        if !method.credentials.iter().all(is_issued) {
            return;
        }
        let grant = method.access_grant_id;
        if let Some(method) = self.access_methods.get_mut(id) {
            method.issued_at = Some(now);
        }
        self.emit_method(EventType::MethodIssued, id, now);
        let Some(row) = self.access_grants.get(grant) else { return };
        let issued = row.access_methods.iter().filter_map(|id| self.access_methods.get(*id));
        if issued.filter(|method| method.issued_at.is_some()).count() == 1 {
            for entrance in row.entrances.clone() {
                self.emit_grant(EventType::GrantedToDoor, grant, Some(entrance), now);
            }
            self.emit_grant(EventType::GrantedToAllDoors, grant, None, now);
        }
    }

    pub(crate) fn delete_access_method(&mut self, id: AccessMethodId, now: Timestamp) -> Result<(), Refusal> {
        let method = self.access_method(id)?;
        let (was_issued, credentials) = (method.issued_at.is_some(), method.credentials.clone());
        for credential in credentials {
            self.remove_credential(credential, now);
        }
        if was_issued {
            self.emit_method(EventType::MethodRevoked, id, now);
        }
        self.emit_method(EventType::MethodDeleted, id, now);
        if let Some(method) = self.access_methods.get_mut(id) {
            method.deleted_at = Some(now);
        }
        Ok(())
    }

    pub(crate) fn delete_access_grant(&mut self, id: AccessGrantId, now: Timestamp) -> Result<(), Refusal> {
        let grant = self.access_grant(id)?.clone();
        let methods = grant.access_methods.iter().filter_map(|id| self.access_methods.get(*id));
        let (methods, issued): (Vec<_>, Vec<_>) =
            methods.map(|method| (method.access_method_id, method.issued_at.is_some())).unzip();
        for method in methods {
            self.delete_access_method(method, now)?;
        }
        if issued.contains(&true) {
            for entrance in grant.entrances {
                self.emit_grant(EventType::AccessToDoorLost, id, Some(entrance), now);
            }
        }
        if let Some(grant) = self.access_grants.get_mut(id) {
            grant.deleted_at = Some(now);
        }
        self.emit_grant(EventType::GrantDeleted, id, None, now);
        Ok(())
    }

    fn emit_grant(&mut self, event_type: EventType, id: AccessGrantId, door: Option<AcsEntranceId>, now: Timestamp) {
        let about = About { access_grant_id: Some(id), acs_entrance_id: door, ..About::default() };
        self.emit(event_type, about, now);
    }

    fn emit_method(&mut self, event_type: EventType, id: AccessMethodId, now: Timestamp) {
        let Some(method) = self.access_methods.at(id) else { return };
        let key = self.access_grants.at(method.access_grant_id).and_then(|grant| grant.access_grant_key.clone());
        let code = if event_type == EventType::MethodIssued { method.code.clone() } else { None };
        let about = About {
            access_method_id: Some(id),
            access_grant_ids: Some(vec![method.access_grant_id]),
            access_grant_keys: key.map(|key| vec![key]),
            code,
            ..About::default()
        };
        self.emit(event_type, about, now);
    }
}

fn no_grant() -> Refusal {
    Refusal::not_found("access_grant", "Access grant")
}
