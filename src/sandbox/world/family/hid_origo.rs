//! HID Origo, an office's credential manager, and the Brivo account whose doors its keys open.

use super::{Family, Named};
use crate::sandbox::world::credential::{AccessMethodMode, Credential};
use crate::sandbox::world::ids::Chance;

pub(super) struct HidOrigo;

pub(super) struct Brivo;

impl Family for HidOrigo {
    fn system_type(&self) -> Named {
        ("hid_credential_manager_organization", "HID Credential Manager Organization")
    }

    fn user_type(&self) -> Option<Named> {
        Some(("hid_credential_manager_user", "HID Credential Manager User"))
    }

    fn credential_type(&self) -> Option<Named> {
        Some(("hid_credential", "HID Credential"))
    }

    fn is_credential_manager(&self) -> bool {
        true
    }
}

impl Family for Brivo {
    fn system_type(&self) -> Named {
        ("brivo_account", "Brivo Account")
    }

    fn user_type(&self) -> Option<Named> {
        Some(("brivo_user", "Brivo User"))
    }

    fn credential_type(&self) -> Option<Named> {
        Some(("brivo_credential", "Brivo Credential"))
    }

    fn access_group_type(&self) -> Option<Named> {
        Some(("brivo_group", "Brivo Group"))
    }

    fn metadata_key(&self) -> Option<&'static str> {
        Some("brivo_metadata")
    }

    fn credential_managers(&self) -> &'static [&'static str] {
        &["hid_credential_manager_organization"]
    }

    fn unlocks_with(&self) -> &'static [AccessMethodMode] {
        &[AccessMethodMode::MobileKey, AccessMethodMode::Card, AccessMethodMode::Code]
    }

    fn issued(&self, chance: &mut Chance, credential: &mut Credential) {
        credential.card_number = Some(chance.digits::<6>());
    }
}
