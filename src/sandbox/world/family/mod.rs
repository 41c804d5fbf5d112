//! What differs between access systems: one file for each family, and the list of them.
//!
//! To add a system: a file with its [`Family`], its name in [`FAMILIES`], and, if the sandbox shall open with one, a
//! building in `seed`.

mod hid_origo;
mod latch;
mod salto_ks;
mod salto_space;
mod visionline;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::World;
use super::acs_user::AcsUser;
use super::credential::{AccessMethodMode, Credential, CredentialDraft};
use super::ids::{AcsCredentialId, Chance};
use super::refusal::Refusal;
use super::system::AcsEntrance;
use crate::sandbox::input::Input;

/// The `…_metadata` of a request, as each family read its own, under the family's key.
pub(crate) type Metadata = BTreeMap<&'static str, Value>;

/// A name on the wire (`visionline_card`) and the same for people ("Visionline Card").
pub(crate) type Named = (&'static str, &'static str);

static FAMILIES: [&dyn Family; 8] = [
    &visionline::Visionline,
    &visionline::AssaAbloyCredentialService,
    &latch::Latch,
    &salto_ks::SaltoKs,
    &salto_space::SaltoSpace,
    &hid_origo::HidOrigo,
    &hid_origo::Brivo,
    &Unknown,
];

/// The rules of one kind of access system. What a family does not say is as in most.
pub(crate) trait Family: Sync {
    /// Seam's `external_type` of the system.
    fn system_type(&self) -> Named;

    fn user_type(&self) -> Option<Named> {
        None
    }

    fn credential_type(&self) -> Option<Named> {
        None
    }

    fn access_group_type(&self) -> Option<Named> {
        None
    }

    fn is_credential_manager(&self) -> bool {
        false
    }

    /// The `external_type`s of the credential managers that can bring this family's keys to phones.
    fn credential_managers(&self) -> &'static [&'static str] {
        &[]
    }

    /// The key under which objects carry this family's own words, like `visionline_metadata`.
    fn metadata_key(&self) -> Option<&'static str> {
        None
    }

    /// The family's own words about a system.
    fn system_metadata(&self) -> Value {
        Value::Null
    }

    /// The family's own words about a user.
    fn user_metadata(&self, _user: &AcsUser) -> Value {
        Value::Null
    }

    /// Reads the family's own parameters of `/acs/credentials/create`, from the object under its key.
    fn read_metadata(&self, _input: &mut Input) -> Value {
        Value::Null
    }

    /// What unlocks this family's doors.
    fn unlocks_with(&self) -> &'static [AccessMethodMode] {
        &[AccessMethodMode::MobileKey]
    }

    /// Whether a door is one that a guest books.
    fn is_bookable(&self, _entrance: &AcsEntrance) -> bool {
        true
    }

    /// Refuses what the family's documents forbid.
    fn check(&self, _world: &World, _draft: &CredentialDraft, _now: Timestamp) -> Result<(), Refusal> {
        Ok(())
    }

    /// Fills in what the family knows of a credential that is about to be.
    fn complete(&self, _world: &mut World, _asked: &Metadata, _credential: &mut Credential) {}

    /// What else happens because a credential now is.
    fn created(&self, _world: &mut World, _id: AcsCredentialId, _asked: &Metadata, _now: Timestamp) {}

    /// Before when no credential of this one's user can be issued.
    fn issued_not_before(&self, _world: &World, _credential: &Credential) -> Option<Timestamp> {
        None
    }

    /// Fills in what a credential gets when it arrives on its phone, or in its system.
    fn issued(&self, _chance: &mut Chance, _credential: &mut Credential) {}

    fn invalidated(&self, _credential: &mut Credential) {}
}

/// The family of a system by its `external_type`.
pub(crate) fn of(external_type: &str) -> &'static dyn Family {
    FAMILIES.iter().copied().find(|family| family.system_type().0 == external_type).unwrap_or(unknown())
}

/// A family without rules of its own, for systems that a state file names and this version does not know.
pub(crate) fn unknown() -> &'static dyn Family {
    &Unknown
}

/// Reads every family's parameters: which one applies is known only when the ACS user has been looked up.
pub(crate) fn read_metadata(input: &mut Input) -> Metadata {
    let mut metadata = Metadata::new();
    for family in FAMILIES {
        if let Some(key) = family.metadata_key()
            && let Some(value) = input.object(key, |inner| family.read_metadata(inner))
        {
            metadata.insert(key, value);
        }
    }
    metadata
}

struct Unknown;

impl Family for Unknown {
    fn system_type(&self) -> Named {
        ("unknown", "Unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_found_by_its_name() {
        for family in FAMILIES {
            assert_eq!(of(family.system_type().0).system_type(), family.system_type());
        }
    }
}
