//! Credentials: what they are and how they are made.
//!
//! A multi-phone sync credential is a *parent*: made once per ACS user and stay, before any phone if need be. What opens
//! doors are its *children*, one for each of the person's phones with an active endpoint; `keys` makes and ends those.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::World;
use super::agenda::Due;
use super::family::{Family, Metadata};
use super::ids::{AccessMethodId, AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, DeviceId, UserIdentityId};
use super::refusal::Refusal;
use super::system::AcsSystem;
use super::table::row;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccessMethodMode {
    Code,
    Card,
    MobileKey,
    CloudKey,
}

impl AccessMethodMode {
    pub(crate) const ALL: &'static [(&'static str, Self)] =
        &[("code", Self::Code), ("card", Self::Card), ("mobile_key", Self::MobileKey), ("cloud_key", Self::CloudKey)];
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) acs_credential_id: AcsCredentialId,
    pub(crate) acs_system_id: AcsSystemId,
    pub(crate) acs_user_id: Option<AcsUserId>,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) access_method: AccessMethodMode,
    pub(crate) is_multi_phone_sync: bool,
    pub(crate) parent: Option<AcsCredentialId>,
    /// Live children.
    pub(crate) children: Vec<AcsCredentialId>,
    /// The phone that holds the key.
    pub(crate) device_id: Option<DeviceId>,
    /// Who brings the key to the phone, where the access system does not do it itself.
    pub(crate) credential_manager: Option<AcsSystemId>,
    pub(crate) entrances: Vec<AcsEntranceId>,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) display_name: String,
    pub(crate) code: Option<String>,
    pub(crate) card_number: Option<String>,
    pub(crate) issued_at: Option<Timestamp>,
    /// Since when the access system knows the credential as it is; `None` while a change is on its way.
    pub(crate) synced_at: Option<Timestamp>,
    /// Since when it opens nothing any more, though it was not deleted.
    pub(crate) invalidated_at: Option<Timestamp>,
    pub(crate) being_deleted_since: Option<Timestamp>,
    /// The access method that this credential serves, when an access grant made it.
    pub(crate) access_method_id: Option<AccessMethodId>,
    /// The family's own words, under the family's own key.
    pub(crate) metadata: Value,
}
row!(Credential, acs_credential_id: AcsCredentialId);

impl Credential {
    /// Whether it opens doors, or will.
    pub(crate) fn is_alive(&self) -> bool {
        self.deleted_at.is_none() && self.being_deleted_since.is_none() && self.invalidated_at.is_none()
    }

    pub(crate) fn is_mobile_key(&self) -> bool {
        self.access_method == AccessMethodMode::MobileKey
    }
}

/// What `/acs/credentials/create` says of the credential to be.
#[derive(Debug)]
pub(crate) struct CredentialDraft {
    pub(crate) acs_user_id: AcsUserId,
    pub(crate) access_method: AccessMethodMode,
    pub(crate) is_multi_phone_sync: bool,
    pub(crate) credential_manager: Option<AcsSystemId>,
    pub(crate) entrances: Vec<AcsEntranceId>,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) code: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) access_method_id: Option<AccessMethodId>,
}

impl World {
    pub(crate) fn credential(&self, id: AcsCredentialId) -> Result<&Credential, Refusal> {
        self.credentials.get(id).ok_or_else(|| Refusal::not_found("acs_credential", "Credential"))
    }

    /// The system and the family that a credential lives in.
    pub(crate) fn family_of(&self, credential: &Credential) -> &'static dyn Family {
        self.systems.at(credential.acs_system_id).map_or(super::family::unknown(), AcsSystem::family)
    }

    /// A person's live credentials, through all of their ACS users.
    pub(crate) fn credentials_of_person(&self, person: UserIdentityId) -> impl Iterator<Item = &Credential> {
        let users = self.user_identity(person).map(|person| person.acs_users.as_slice()).unwrap_or_default();
        users
            .iter()
            .filter_map(|user| self.acs_users.get(*user))
            .flat_map(|user| &user.credentials)
            .filter_map(|id| self.credentials.get(*id))
    }

    /// Makes a credential for an ACS user. Where the person has active phones, their keys are on the way at once.
    pub(crate) fn create_credential(
        &mut self,
        draft: CredentialDraft,
        now: Timestamp,
    ) -> Result<AcsCredentialId, Refusal> {
        let user = self.acs_user(draft.acs_user_id)?;
        let (system, person) = (self.acs_system(user.acs_system_id)?, user.user_identity_id);
        check_times(draft.starts_at, draft.ends_at, now)?;
        if draft.is_multi_phone_sync && draft.access_method != AccessMethodMode::MobileKey {
            return Err(Refusal::field(
                "is_multi_phone_sync_credential",
                "Only a mobile_key can be a multi-phone sync credential",
            ));
        }
        for entrance in &draft.entrances {
            if self.acs_entrance(*entrance)?.acs_system_id != system.acs_system_id {
                return Err(Refusal::field("allowed_acs_entrance_ids", "Entrance belongs to another access system"));
            }
        }
        let credential_manager = self.manager_for(system, &draft)?;
        let family = system.family();
        family.check(self, &draft, now)?;

        let mut credential = Credential {
            acs_system_id: system.acs_system_id,
            acs_credential_id: self.chance.id(),
            acs_user_id: Some(draft.acs_user_id),
            created_at: now,
            deleted_at: None,
            access_method: draft.access_method,
            is_multi_phone_sync: draft.is_multi_phone_sync,
            parent: None,
            children: Vec::new(),
            device_id: None,
            credential_manager,
            entrances: draft.entrances,
            starts_at: draft.starts_at,
            ends_at: draft.ends_at,
            display_name: String::new(),
            code: draft.code,
            card_number: None,
            issued_at: None,
            synced_at: None,
            invalidated_at: None,
            being_deleted_since: None,
            access_method_id: draft.access_method_id,
            metadata: Value::Null,
        };
        if credential.access_method == AccessMethodMode::Code && credential.code.is_none() {
            credential.code = Some(self.chance.digits::<6>());
        }
        credential.display_name = display_name(&credential);
        family.complete(self, &draft.metadata, &mut credential);
        let id = self.insert_credential(credential);
        family.created(self, id, &draft.metadata, now);
        match draft.access_method {
            AccessMethodMode::MobileKey => {
                if let Some(person) = person {
                    self.bring_keys_to_phones(person, now);
                }
            }
            AccessMethodMode::Code | AccessMethodMode::CloudKey => self.issue_soon(id, now),
            // A card waits for somebody to encode it, and there are no encoders here.
            AccessMethodMode::Card => {}
        }
        Ok(id)
    }

    /// Adds a credential to its user and to the agenda.
    pub(super) fn insert_credential(&mut self, credential: Credential) -> AcsCredentialId {
        let id = credential.acs_credential_id;
        if let Some(user) = credential.acs_user_id.and_then(|user| self.acs_users.get_mut(user)) {
            user.credentials.push(id);
        }
        if let Some(ends_at) = credential.ends_at {
            self.agenda.note(ends_at, Due::Expire(id, ends_at));
        }
        self.credentials.insert(credential);
        id
    }

    /// The named credential manager, if it fits the system; else the system's own. That the default is taken when none
    /// is named is an inference: `default_credential_manager_acs_system_id` exists, what it is for is nowhere said.
    fn manager_for(&self, system: &AcsSystem, draft: &CredentialDraft) -> Result<Option<AcsSystemId>, Refusal> {
        if draft.access_method != AccessMethodMode::MobileKey {
            return Ok(None);
        }
        let Some(named) = draft.credential_manager else {
            return Ok(system.default_credential_manager);
        };
        let manager = self.acs_system(named)?;
        if !system.family().credential_managers().contains(&manager.external_type.as_str()) {
            return Err(Refusal::field(
                "credential_manager_acs_system_id",
                "The credential manager is not compatible with the access system",
            ));
        }
        Ok(Some(named))
    }
}

/// Names as Seam's documents show them. The digits of a PIN are masked, since names end up on screens.
fn display_name(credential: &Credential) -> String {
    match (credential.access_method, credential.is_multi_phone_sync, &credential.code) {
        (AccessMethodMode::Code, _, Some(code)) => "*".repeat(code.len()),
        (AccessMethodMode::Code, ..) => "Code".to_owned(),
        (AccessMethodMode::Card, ..) => "Card".to_owned(),
        (AccessMethodMode::MobileKey, true, _) => "Multi Phone Sync Credential".to_owned(),
        (AccessMethodMode::MobileKey, false, _) => "Mobile Key".to_owned(),
        (AccessMethodMode::CloudKey, ..) => "Cloud Key".to_owned(),
    }
}

/// `ends_at` "must be a time in the future and after `starts_at`" (Seam's schema).
pub(super) fn check_times(
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(ends_at) = ends_at else { return Ok(()) };
    if ends_at <= now {
        return Err(Refusal::field("ends_at", "ends_at must be in the future"));
    }
    if starts_at.is_some_and(|starts_at| starts_at >= ends_at) {
        return Err(Refusal::field("ends_at", "ends_at must be after starts_at"));
    }
    Ok(())
}
