//! `/phones/*`.

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::ids::{AcsCredentialId, DeviceId, UserIdentityId};
use crate::sandbox::world::phone::{DeviceType, Phone, PhoneDraft};

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::get("/phones/get", get),
    Endpoint::get("/phones/list", list),
    Endpoint::delete("/phones/deactivate", deactivate),
    Endpoint::post("/phones/simulate/create_sandbox_phone", create_sandbox_phone),
];

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("device_id"))?;
    Ok(call.one("phone", call.world.phone(id)?))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (owner, credential) = call.read(|input| {
        let owner: Option<UserIdentityId> = input.optional("owner_user_identity_id");
        let credential: Option<AcsCredentialId> = input.optional("acs_credential_id");
        (owner, credential)
    })?;
    let world = &*call.world;
    let held_by: Option<Vec<DeviceId>> = match credential {
        None => None,
        Some(id) => {
            let row = world.credential(id)?;
            let children = row.children.iter().filter_map(|child| world.credentials.get(*child));
            Some(children.chain([row]).filter_map(|row| row.device_id).collect())
        }
    };
    let candidates: Vec<&Phone> = match (owner, &held_by) {
        (Some(owner), _) => {
            let phones = world.user_identity(owner).map(|person| person.phones.as_slice()).unwrap_or_default();
            phones.iter().filter_map(|id| world.phones.get(*id)).collect()
        }
        (None, Some(held_by)) => held_by.iter().filter_map(|id| world.phones.get(*id)).collect(),
        (None, None) => world.phones.live().collect(),
    };
    let rows = candidates
        .into_iter()
        .filter(|phone| held_by.as_ref().is_none_or(|held_by| held_by.contains(&phone.device_id)));
    Ok(Answer::of("phones", call.wires(rows)))
}

fn deactivate(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("device_id"))?;
    call.world.deactivate_phone(id, call.now)?;
    Ok(Answer::void())
}

fn create_sandbox_phone(call: &mut Call<'_>) -> Outcome {
    let (owner, draft) = call.read(|input| (input.required("user_identity_id"), read_draft(input)))?;
    let id = call.world.create_phone(owner, draft, call.now)?;
    Ok(call.one("phone", call.world.phone(id)?))
}

/// The defaults are Seam's own.
fn read_draft(input: &mut Input) -> PhoneDraft {
    let installation = input.optional("custom_sdk_installation_id");
    input.object("assa_abloy_metadata", |inner| {
        let _: (Option<String>, Option<String>) =
            (inner.optional("application_version"), inner.optional("seos_applet_version"));
        let _: Option<bool> = inner.optional("ble_capability");
        let _: Option<bool> = inner.optional("hce_capability");
        let _: Option<bool> = inner.optional("nfc_capability");
        let _: Option<serde_json::Value> = inner.optional("seos_tsm_endpoint_id");
    });
    let draft = input.object("phone_metadata", |inner| PhoneDraft {
        device_type: inner
            .choice("operating_system", &[("ios", DeviceType::Ios), ("android", DeviceType::Android)])
            .unwrap_or(DeviceType::Android),
        manufacturer: inner.optional("device_manufacturer").unwrap_or_else(|| "Samsung".to_owned()),
        model: inner.optional("device_model").unwrap_or_else(|| "Samsung Galaxy S10".to_owned()),
        os_version: inner.optional("os_version").unwrap_or_else(|| "10".to_owned()),
        installation: None,
    });
    let default = || PhoneDraft {
        device_type: DeviceType::Android,
        manufacturer: "Samsung".to_owned(),
        model: "Samsung Galaxy S10".to_owned(),
        os_version: "10".to_owned(),
        installation: None,
    };
    PhoneDraft { installation, ..draft.unwrap_or_else(default) }
}
