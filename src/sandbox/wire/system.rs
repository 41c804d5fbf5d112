//! `acs_system`, `acs_entrance` and `acs_access_group`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{NOTHING, Note, Wire, family_words, value};
use crate::sandbox::world::World;
use crate::sandbox::world::credential::AccessMethodMode;
use crate::sandbox::world::ids::{AcsAccessGroupId, AcsEntranceId, AcsSystemId, ConnectedAccountId, WorkspaceId};
use crate::sandbox::world::moment::At;
use crate::sandbox::world::system::{AcsAccessGroup, AcsEntrance, AcsSystem};

#[derive(Serialize)]
struct AcsSystemObject<'a> {
    acs_system_id: AcsSystemId,
    connected_account_id: ConnectedAccountId,
    connected_account_ids: [ConnectedAccountId; 1],
    workspace_id: WorkspaceId,
    created_at: At,
    name: &'a str,
    external_type: &'static str,
    external_type_display_name: &'static str,
    system_type: &'static str,
    system_type_display_name: &'static str,
    is_credential_manager: bool,
    default_credential_manager_acs_system_id: Option<AcsSystemId>,
    acs_user_count: usize,
    acs_access_group_count: usize,
    image_url: String,
    image_alt_text: String,
    location: Location<'a>,
    errors: [Note; 0],
    warnings: [Note; 0],
    #[serde(flatten)]
    metadata: Map<String, Value>,
}

#[derive(Serialize)]
struct Location<'a> {
    time_zone: &'a str,
}

impl Wire for AcsSystem {
    fn wire(&self, world: &World) -> Value {
        let (id, family) = (self.acs_system_id, self.family());
        let (external_type, external_type_display_name) = family.system_type();
        value(AcsSystemObject {
            acs_system_id: id,
            connected_account_id: self.connected_account_id,
            connected_account_ids: [self.connected_account_id],
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            name: &self.name,
            external_type,
            external_type_display_name,
            system_type: external_type,
            system_type_display_name: external_type_display_name,
            is_credential_manager: family.is_credential_manager(),
            default_credential_manager_acs_system_id: self.default_credential_manager,
            acs_user_count: world.acs_users.live().filter(|user| user.acs_system_id == id).count(),
            acs_access_group_count: world.access_groups.live().filter(|group| group.acs_system_id == id).count(),
            image_url: format!("https://connect.getseam.com/assets/images/acs_systems/{external_type}.png"),
            image_alt_text: format!("{external_type_display_name} Logo"),
            location: Location { time_zone: &self.time_zone },
            errors: NOTHING,
            warnings: NOTHING,
            metadata: family_words(family.metadata_key(), &family.system_metadata()),
        })
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the object has them")]
struct AcsEntranceObject<'a> {
    acs_entrance_id: AcsEntranceId,
    acs_system_id: AcsSystemId,
    connected_account_id: ConnectedAccountId,
    created_at: At,
    display_name: &'a str,
    errors: [Note; 0],
    warnings: [Note; 0],
    space_ids: [String; 0],
    can_unlock_with_mobile_key: bool,
    can_unlock_with_card: bool,
    can_unlock_with_code: bool,
    can_unlock_with_cloud_key: bool,
    can_belong_to_reservation: bool,
    #[serde(flatten)]
    metadata: Map<String, Value>,
}

impl Wire for AcsEntrance {
    fn wire(&self, world: &World) -> Value {
        let system = world.systems.at(self.acs_system_id);
        let family = system.map_or(crate::sandbox::world::family::unknown(), |system| system.family());
        let unlocks = |mode| family.unlocks_with().contains(&mode);
        value(AcsEntranceObject {
            acs_entrance_id: self.acs_entrance_id,
            acs_system_id: self.acs_system_id,
            connected_account_id: system.map(|system| system.connected_account_id).unwrap_or_default(),
            created_at: At(self.created_at),
            display_name: &self.display_name,
            errors: NOTHING,
            warnings: NOTHING,
            space_ids: [],
            can_unlock_with_mobile_key: unlocks(AccessMethodMode::MobileKey),
            can_unlock_with_card: unlocks(AccessMethodMode::Card),
            can_unlock_with_code: unlocks(AccessMethodMode::Code),
            can_unlock_with_cloud_key: unlocks(AccessMethodMode::CloudKey),
            can_belong_to_reservation: family.is_bookable(self),
            metadata: family_words(family.metadata_key(), &self.metadata),
        })
    }
}

#[derive(Serialize)]
struct AcsAccessGroupObject<'a> {
    acs_access_group_id: AcsAccessGroupId,
    acs_system_id: AcsSystemId,
    connected_account_id: ConnectedAccountId,
    workspace_id: WorkspaceId,
    created_at: At,
    name: &'a str,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_type_display_name: Option<&'static str>,
    is_managed: bool,
    errors: [Note; 0],
    warnings: [Note; 0],
    pending_mutations: [Note; 0],
}

impl Wire for AcsAccessGroup {
    fn wire(&self, world: &World) -> Value {
        let system = world.systems.at(self.acs_system_id);
        let named = system.and_then(|system| system.family().access_group_type());
        value(AcsAccessGroupObject {
            acs_access_group_id: self.acs_access_group_id,
            acs_system_id: self.acs_system_id,
            connected_account_id: system.map(|system| system.connected_account_id).unwrap_or_default(),
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            name: &self.name,
            display_name: &self.name,
            external_type: named.map(|named| named.0),
            external_type_display_name: named.map(|named| named.1),
            is_managed: true,
            errors: NOTHING,
            warnings: NOTHING,
            pending_mutations: NOTHING,
        })
    }
}
