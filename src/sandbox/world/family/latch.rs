//! Latch, an apartment building's locks: the doors are on the credential, and it brings its keys to phones itself.
//!
//! A mobile key must not be given a code and gets one anyway, which Latch makes. A PIN credential opens one door.

use jiff::Timestamp;

use super::{Family, Metadata, Named};
use crate::sandbox::world::World;
use crate::sandbox::world::credential::{AccessMethodMode, Credential, CredentialDraft};
use crate::sandbox::world::refusal::Refusal;

pub(super) struct Latch;

impl Family for Latch {
    fn system_type(&self) -> Named {
        ("latch_building", "Latch Building")
    }

    fn user_type(&self) -> Option<Named> {
        Some(("latch_user", "Latch User"))
    }

    fn credential_type(&self) -> Option<Named> {
        Some(("latch_access", "Latch Access"))
    }

    fn metadata_key(&self) -> Option<&'static str> {
        Some("latch_metadata")
    }

    fn unlocks_with(&self) -> &'static [AccessMethodMode] {
        &[AccessMethodMode::MobileKey, AccessMethodMode::Code]
    }

    fn check(&self, _world: &World, draft: &CredentialDraft, _now: Timestamp) -> Result<(), Refusal> {
        match draft.access_method {
            AccessMethodMode::MobileKey if draft.code.is_some() => {
                Err(Refusal::field("code", "Latch makes the code of a mobile key itself; leave it out"))
            }
            AccessMethodMode::Code if draft.entrances.len() != 1 => {
                Err(Refusal::field("allowed_acs_entrance_ids", "A Latch PIN credential opens exactly one entrance"))
            }
            _ => Ok(()),
        }
    }

    fn complete(&self, world: &mut World, _asked: &Metadata, credential: &mut Credential) {
        if credential.access_method == AccessMethodMode::MobileKey {
            credential.code = Some(world.chance.digits::<7>());
            "Mobile Key".clone_into(&mut credential.display_name);
        }
    }
}
