//! Salto Space: one mobile key for each user, on one phone or on all of them.

use jiff::Timestamp;
use serde_json::Value;

use super::{Family, Named};
use crate::sandbox::input::Input;
use crate::sandbox::world::World;
use crate::sandbox::world::acs_user::AcsUser;
use crate::sandbox::world::credential::{AccessMethodMode, CredentialDraft};
use crate::sandbox::world::refusal::Refusal;

pub(super) struct SaltoSpace;

impl Family for SaltoSpace {
    fn system_type(&self) -> Named {
        ("salto_space_system", "Salto Space System")
    }

    fn user_type(&self) -> Option<Named> {
        Some(("salto_space_user", "Salto Space User"))
    }

    fn credential_type(&self) -> Option<Named> {
        Some(("salto_space_key", "Salto Space Key"))
    }

    fn access_group_type(&self) -> Option<Named> {
        Some(("salto_space_group", "Salto Space Group"))
    }

    fn metadata_key(&self) -> Option<&'static str> {
        Some("salto_space_metadata")
    }

    fn user_metadata(&self, user: &AcsUser) -> Value {
        serde_json::json!({"audit_openings": true, "user_id": user.acs_user_id.to_string()})
    }

    fn read_metadata(&self, input: &mut Input) -> Value {
        let _: Option<bool> = input.optional("assign_new_key");
        let _: Option<bool> = input.optional("update_current_key");
        Value::Null
    }

    fn unlocks_with(&self) -> &'static [AccessMethodMode] {
        &[AccessMethodMode::MobileKey, AccessMethodMode::Card]
    }

    fn check(&self, world: &World, draft: &CredentialDraft, _now: Timestamp) -> Result<(), Refusal> {
        let user = world.acs_user(draft.acs_user_id)?;
        let mut keys = user.credentials.iter().filter_map(|id| world.credentials.get(*id));
        if draft.access_method == AccessMethodMode::MobileKey
            && keys.any(|key| key.is_mobile_key() && key.parent.is_none() && key.is_alive())
        {
            return Err(Refusal::bad(
                "acs_user_already_has_mobile_key",
                "A Salto Space user has at most one mobile key; delete it first",
            ));
        }
        Ok(())
    }
}
