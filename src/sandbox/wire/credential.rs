//! `acs_credential`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{NOTHING, Note, Wire, at, family_words, value};
use crate::sandbox::world::World;
use crate::sandbox::world::credential::{AccessMethodMode, Credential};
use crate::sandbox::world::ids::{
    AcsCredentialId, AcsSystemId, AcsUserId, ConnectedAccountId, UserIdentityId, WorkspaceId,
};
use crate::sandbox::world::moment::At;

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the object has them")]
struct AcsCredential<'a> {
    acs_credential_id: AcsCredentialId,
    acs_system_id: AcsSystemId,
    #[serde(skip_serializing_if = "Option::is_none")]
    acs_user_id: Option<AcsUserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity_id: Option<UserIdentityId>,
    connected_account_id: ConnectedAccountId,
    workspace_id: WorkspaceId,
    created_at: At,
    display_name: &'a str,
    access_method: AccessMethodMode,
    code: Option<&'a str>,
    is_managed: bool,
    is_one_time_use: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<At>,
    errors: [Note; 0],
    warnings: Vec<Note>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_acs_credential_id: Option<AcsCredentialId>,
    is_multi_phone_sync_credential: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_type_display_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    card_number: Option<&'a str>,
    is_issued: bool,
    issued_at: Option<At>,
    is_latest_desired_state_synced_with_provider: bool,
    latest_desired_state_synced_with_provider_at: Option<At>,
    #[serde(flatten)]
    metadata: Map<String, Value>,
}

impl Wire for Credential {
    fn wire(&self, world: &World) -> Value {
        let system = world.systems.at(self.acs_system_id);
        let family = world.family_of(self);
        let user = self.acs_user_id.and_then(|user| world.acs_users.at(user));
        value(AcsCredential {
            acs_credential_id: self.acs_credential_id,
            acs_system_id: self.acs_system_id,
            acs_user_id: self.acs_user_id,
            user_identity_id: user.and_then(|user| user.user_identity_id),
            connected_account_id: system.map(|system| system.connected_account_id).unwrap_or_default(),
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            display_name: &self.display_name,
            access_method: self.access_method,
            code: self.code.as_deref(),
            is_managed: true,
            is_one_time_use: false,
            starts_at: at(self.starts_at),
            ends_at: at(self.ends_at),
            errors: NOTHING,
            warnings: warnings(self),
            parent_acs_credential_id: self.parent,
            is_multi_phone_sync_credential: self.is_multi_phone_sync,
            external_type: family.credential_type().map(|named| named.0),
            external_type_display_name: family.credential_type().map(|named| named.1),
            card_number: self.card_number.as_deref(),
            is_issued: self.issued_at.is_some(),
            issued_at: at(self.issued_at),
            is_latest_desired_state_synced_with_provider: self.synced_at.is_some(),
            latest_desired_state_synced_with_provider_at: at(self.synced_at),
            metadata: family_words(family.metadata_key(), &self.metadata),
        })
    }

    fn secrets(&self) -> Vec<(&'static str, Value)> {
        let device = self.device_id.map(|device| ("device_id", json!(device)));
        let manager = self.credential_manager.map(|id| ("credential_manager_acs_system_id", json!(id)));
        let invalidated = self.invalidated_at.map(|at| ("invalidated_at", json!(At(at))));
        let doors = Some(("acs_entrance_ids", json!(self.entrances)));
        [device, manager, invalidated, doors].into_iter().flatten().collect()
    }
}

fn warnings(credential: &Credential) -> Vec<Note> {
    if let Some(since) = credential.being_deleted_since {
        return vec![Note::warning("being_deleted", "Credential is being deleted.", since)];
    }
    if credential.issued_at.is_none() && credential.invalidated_at.is_none() {
        return vec![Note::warning(
            "waiting_to_be_issued",
            "Credential is waiting to be issued.",
            credential.created_at,
        )];
    }
    Vec::new()
}
