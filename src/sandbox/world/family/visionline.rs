//! ASSA ABLOY Visionline, a hotel's locks, and the ASSA ABLOY Credential Service, which brings its keys to phones.
//!
//! A guest key opens its guest doors until the next guest's key overrides it. `override: true` ends the earlier guest
//! keys of each of the credential's guest doors; `override: false` asks for the keys to be joined instead. The override
//! takes place when the credential is made. A real lock learns of it from the new key; to a client that made the same
//! credential twice by mistake the outcome is the same, and here it is seen at once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Family, Metadata, Named};
use crate::sandbox::input::Input;
use crate::sandbox::world::World;
use crate::sandbox::world::credential::{AccessMethodMode, Credential, CredentialDraft};
use crate::sandbox::world::ids::{AcsCredentialId, AcsEntranceId, Chance};
use crate::sandbox::world::refusal::Refusal;
use crate::sandbox::world::system::AcsEntrance;

const KEY: &str = "visionline_metadata";

pub(super) struct Visionline;

pub(super) struct AssaAbloyCredentialService;

/// `visionline_metadata` of `/acs/credentials/create`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Asked {
    card_format: Option<CardFormat>,
    card_function_type: CardFunctionType,
    /// `override`, or `is_override_key` of old.
    overrides: Option<bool>,
    auto_join: Option<bool>,
    joiner_acs_credential_ids: Vec<AcsCredentialId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum CardFormat {
    TLCode,
    #[serde(rename = "rfid48")]
    Rfid48,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CardFunctionType {
    #[default]
    Guest,
    Staff,
}

/// `visionline_metadata` of a credential: not what was asked for, but what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OnCredential {
    card_function_type: CardFunctionType,
    #[serde(skip_serializing_if = "Option::is_none")]
    card_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_join: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_valid: Option<bool>,
    guest_acs_entrance_ids: Vec<AcsEntranceId>,
    common_acs_entrance_ids: Vec<AcsEntranceId>,
    joiner_acs_credential_ids: Vec<AcsCredentialId>,
}

impl Family for Visionline {
    fn system_type(&self) -> Named {
        ("visionline_system", "Visionline")
    }

    fn credential_type(&self) -> Option<Named> {
        Some(("visionline_card", "Visionline Card"))
    }

    fn credential_managers(&self) -> &'static [&'static str] {
        &["assa_abloy_credential_service"]
    }

    fn metadata_key(&self) -> Option<&'static str> {
        Some(KEY)
    }

    fn system_metadata(&self) -> Value {
        json!({"lan_address": "192.168.1.100", "mobile_access_uuid": "1", "system_id": "1"})
    }

    fn read_metadata(&self, input: &mut Input) -> Value {
        let card_format =
            input.choice("card_format", &[("TLCode", CardFormat::TLCode), ("rfid48", CardFormat::Rfid48)]);
        let function = input
            .choice("card_function_type", &[("guest", CardFunctionType::Guest), ("staff", CardFunctionType::Staff)]);
        let overrides: Option<bool> = input.optional("override");
        let is_override_key: Option<bool> = input.optional("is_override_key");
        if is_override_key.is_some() {
            input.deprecated("is_override_key", "use override");
        }
        let asked = Asked {
            card_format,
            card_function_type: function.unwrap_or_default(),
            overrides: overrides.or(is_override_key),
            auto_join: input.optional("auto_join"),
            joiner_acs_credential_ids: input.optional("joiner_acs_credential_ids").unwrap_or_default(),
        };
        serde_json::to_value(asked).unwrap_or_default()
    }

    fn unlocks_with(&self) -> &'static [AccessMethodMode] {
        &[AccessMethodMode::MobileKey, AccessMethodMode::Card]
    }

    fn is_bookable(&self, entrance: &AcsEntrance) -> bool {
        is_guest_door(entrance)
    }

    fn check(&self, world: &World, draft: &CredentialDraft, _now: Timestamp) -> Result<(), Refusal> {
        let asked = asked(&draft.metadata);
        if draft.code.is_some() || draft.access_method == AccessMethodMode::Code {
            return Err(Refusal::field("code", "Visionline credentials have no code"));
        }
        for joined in &asked.joiner_acs_credential_ids {
            world.credential(*joined)?;
        }
        let joins = !asked.joiner_acs_credential_ids.is_empty() || asked.auto_join == Some(true);
        if asked.overrides == Some(false) && !joins {
            return Err(Refusal::field(KEY, "joiner_acs_credential_ids is required when override is false"));
        }
        if asked.overrides == Some(true) && draft.is_mobile_key() && world.rules.override_needs_active_endpoint {
            let person = world.acs_user(draft.acs_user_id)?.user_identity_id;
            if person.is_none_or(|person| world.active_phones(person).is_empty()) {
                return Err(Refusal::bad(
                    "no_active_mobile_endpoint",
                    "Cannot override: the user identity has no phone with an active endpoint",
                ));
            }
        }
        Ok(())
    }

    fn complete(&self, world: &mut World, metadata: &Metadata, credential: &mut Credential) {
        let asked = asked(metadata);
        let (guest, common) =
            credential.entrances.iter().partition(|id| world.entrances.at(**id).is_some_and(is_guest_door));
        let words = OnCredential {
            card_function_type: asked.card_function_type,
            card_id: None,
            credential_id: None,
            auto_join: asked.auto_join,
            is_valid: None,
            guest_acs_entrance_ids: guest,
            common_acs_entrance_ids: common,
            joiner_acs_credential_ids: asked.joiner_acs_credential_ids,
        };
        credential.metadata = serde_json::to_value(words).unwrap_or_default();
    }

    fn created(&self, world: &mut World, id: AcsCredentialId, metadata: &Metadata, now: Timestamp) {
        let asked = asked(metadata);
        if asked.overrides == Some(true) && asked.card_function_type == CardFunctionType::Guest {
            for earlier in earlier_guest_keys(world, id) {
                world.invalidate(earlier, now);
            }
        }
    }

    fn issued(&self, chance: &mut Chance, credential: &mut Credential) {
        credential.card_number = Some(chance.hex::<8>());
        let (card, key) = (chance.digits::<4>(), chance.digits::<5>());
        edit(credential, |words| {
            words.card_id = Some(card);
            words.credential_id = Some(key);
            words.is_valid = Some(true);
        });
    }

    fn invalidated(&self, credential: &mut Credential) {
        edit(credential, |words| words.is_valid = Some(false));
    }
}

impl Family for AssaAbloyCredentialService {
    fn system_type(&self) -> Named {
        ("assa_abloy_credential_service", "ASSA ABLOY Credential Service")
    }

    fn is_credential_manager(&self) -> bool {
        true
    }
}

impl CredentialDraft {
    fn is_mobile_key(&self) -> bool {
        self.access_method == AccessMethodMode::MobileKey
    }
}

fn asked(metadata: &Metadata) -> Asked {
    metadata.get(KEY).and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
}

fn edit(credential: &mut Credential, change: impl FnOnce(&mut OnCredential)) {
    if let Ok(mut words) = serde_json::from_value::<OnCredential>(credential.metadata.take()) {
        change(&mut words);
        credential.metadata = serde_json::to_value(words).unwrap_or_default();
    }
}

fn is_guest_door(entrance: &AcsEntrance) -> bool {
    entrance.metadata.get("door_category").and_then(Value::as_str) == Some("guest")
}

/// The living keys, other than `new` and what it is a copy of, that open one of its guest doors as a guest's.
fn earlier_guest_keys(world: &World, new: AcsCredentialId) -> Vec<AcsCredentialId> {
    let Some(new) = world.credentials.get(new) else { return Vec::new() };
    let guest_doors = |key: &Credential| -> Vec<AcsEntranceId> {
        let words = serde_json::from_value::<OnCredential>(key.metadata.clone()).ok();
        words
            .filter(|words| words.card_function_type == CardFunctionType::Guest)
            .map(|words| words.guest_acs_entrance_ids)
            .unwrap_or_default()
    };
    let doors = guest_doors(new);
    world
        .credentials
        .live()
        .filter(|key| key.acs_system_id == new.acs_system_id && key.acs_credential_id != new.acs_credential_id)
        .filter(|key| key.parent.is_none() && key.is_alive())
        .filter(|key| guest_doors(key).iter().any(|door| doors.contains(door)))
        .map(|key| key.acs_credential_id)
        .collect()
}
