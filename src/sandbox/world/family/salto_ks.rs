//! Salto KS: access groups open the doors, and the schedule is the user's.
//!
//! A credential therefore names no doors: they are refused. Times of its own it is not known to have; they are left
//! out of the answer, so that a client sees they do not hold. A key is issued when its user is subscribed, which is
//! when the user's schedule starts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Family, Metadata, Named};
use crate::sandbox::world::World;
use crate::sandbox::world::acs_user::AcsUser;
use crate::sandbox::world::credential::{AccessMethodMode, Credential, CredentialDraft};
use crate::sandbox::world::refusal::Refusal;

pub(super) struct SaltoKs;

impl Family for SaltoKs {
    fn system_type(&self) -> Named {
        ("salto_ks_site", "Salto KS Site")
    }

    fn user_type(&self) -> Option<Named> {
        Some(("salto_site_user", "Salto Site User"))
    }

    fn credential_type(&self) -> Option<Named> {
        Some(("salto_ks_credential", "Salto KS Credential"))
    }

    fn access_group_type(&self) -> Option<Named> {
        Some(("salto_ks_access_group", "Salto KS Access Group"))
    }

    fn metadata_key(&self) -> Option<&'static str> {
        Some("salto_ks_metadata")
    }

    fn user_metadata(&self, user: &AcsUser) -> Value {
        json!({"is_subscribed": user.synced_at.is_some() && !user.is_suspended})
    }

    fn unlocks_with(&self) -> &'static [AccessMethodMode] {
        &[AccessMethodMode::MobileKey, AccessMethodMode::Code, AccessMethodMode::Card]
    }

    fn check(&self, _world: &World, draft: &CredentialDraft, _now: Timestamp) -> Result<(), Refusal> {
        // An access grant names doors in every family, and its credentials carry them.
        if !draft.entrances.is_empty() && draft.access_method_id.is_none() {
            return Err(Refusal::field(
                "allowed_acs_entrance_ids",
                "Salto KS grants access through access groups, not through the credential",
            ));
        }
        Ok(())
    }

    fn complete(&self, _world: &mut World, _asked: &Metadata, credential: &mut Credential) {
        credential.starts_at = None;
        credential.ends_at = None;
    }

    fn issued_not_before(&self, world: &World, credential: &Credential) -> Option<Timestamp> {
        let user = world.acs_users.get(credential.acs_user_id?)?;
        user.access_schedule.map(|schedule| schedule.starts_at)
    }
}
