//! `user_identity` and `acs_user`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{NOTHING, Note, Wire, at, family_words, value};
use crate::sandbox::world::World;
use crate::sandbox::world::acs_user::AcsUser;
use crate::sandbox::world::ids::{AcsSystemId, AcsUserId, ConnectedAccountId, UserIdentityId, WorkspaceId};
use crate::sandbox::world::moment::At;
use crate::sandbox::world::people::{Contact, UserIdentity};

#[derive(Serialize)]
struct UserIdentityObject<'a> {
    user_identity_id: UserIdentityId,
    user_identity_key: Option<&'a str>,
    email_address: Option<&'a str>,
    phone_number: Option<&'a str>,
    display_name: &'a str,
    full_name: Option<&'a str>,
    created_at: At,
    workspace_id: WorkspaceId,
    errors: [Note; 0],
    warnings: [Note; 0],
    acs_user_ids: &'a [AcsUserId],
    merged_user_identity_ids: &'a [UserIdentityId],
    merged_user_identity_keys: &'a [String],
}

impl Contact {
    /// The best name there is for a person.
    fn display_name(&self) -> Option<&str> {
        self.full_name.as_deref().or(self.email_address.as_deref()).or(self.phone_number.as_deref())
    }
}

impl Wire for UserIdentity {
    fn wire(&self, world: &World) -> Value {
        let key = self.user_identity_key.as_deref();
        value(UserIdentityObject {
            user_identity_id: self.user_identity_id,
            user_identity_key: key,
            email_address: self.contact.email_address.as_deref(),
            phone_number: self.contact.phone_number.as_deref(),
            display_name: self.contact.display_name().or(key).unwrap_or("Unnamed User Identity"),
            full_name: self.contact.full_name.as_deref(),
            created_at: At(self.created_at),
            workspace_id: world.workspace_id,
            errors: NOTHING,
            warnings: NOTHING,
            acs_user_ids: &self.acs_users,
            merged_user_identity_ids: &self.merged_ids,
            merged_user_identity_keys: &self.merged_keys,
        })
    }
}

#[derive(Serialize)]
struct AcsUserObject<'a> {
    acs_user_id: AcsUserId,
    acs_system_id: AcsSystemId,
    connected_account_id: ConnectedAccountId,
    workspace_id: WorkspaceId,
    created_at: At,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity_id: Option<UserIdentityId>,
    user_identity_email_address: Option<&'a str>,
    user_identity_full_name: Option<&'a str>,
    user_identity_phone_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_schedule: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_type_display_name: Option<&'static str>,
    is_managed: bool,
    is_suspended: bool,
    last_successful_sync_at: Option<At>,
    errors: [Note; 0],
    warnings: [Note; 0],
    pending_mutations: Vec<Note>,
    #[serde(flatten)]
    metadata: Map<String, Value>,
}

#[derive(Serialize)]
struct Schedule {
    starts_at: At,
    ends_at: Option<At>,
}

impl Wire for AcsUser {
    fn wire(&self, world: &World) -> Value {
        let system = world.systems.at(self.acs_system_id);
        let family = system.map_or(crate::sandbox::world::family::unknown(), |system| system.family());
        let person = self.user_identity_id.and_then(|id| world.user_identities.at(id)).map(|person| &person.contact);
        let creating = Note::mutation("creating", "Seam is creating the user.", self.created_at);
        let email = self.contact.email_address.as_deref();
        value(AcsUserObject {
            acs_user_id: self.acs_user_id,
            acs_system_id: self.acs_system_id,
            connected_account_id: system.map(|system| system.connected_account_id).unwrap_or_default(),
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            display_name: self.contact.display_name().unwrap_or("Unnamed User"),
            full_name: self.contact.full_name.as_deref(),
            email_address: email,
            email,
            phone_number: self.contact.phone_number.as_deref(),
            user_identity_id: self.user_identity_id,
            user_identity_email_address: person.and_then(|person| person.email_address.as_deref()),
            user_identity_full_name: person.and_then(|person| person.full_name.as_deref()),
            user_identity_phone_number: person.and_then(|person| person.phone_number.as_deref()),
            access_schedule: self
                .access_schedule
                .map(|schedule| Schedule { starts_at: At(schedule.starts_at), ends_at: at(schedule.ends_at) }),
            external_type: family.user_type().map(|named| named.0),
            external_type_display_name: family.user_type().map(|named| named.1),
            is_managed: true,
            is_suspended: self.is_suspended,
            last_successful_sync_at: at(self.synced_at),
            errors: NOTHING,
            warnings: NOTHING,
            pending_mutations: if self.synced_at.is_some() { Vec::new() } else { vec![creating] },
            metadata: family_words(family.metadata_key(), &family.user_metadata(self)),
        })
    }
}
