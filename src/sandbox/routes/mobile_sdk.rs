//! `/seam/mobile_sdk/*`: what Seam's SDK in the app calls. It comes with a client session's token.

use serde_json::json;

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::world::ids::UserIdentityId;
use crate::sandbox::world::phone::{DeviceType, PhoneDraft};
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::post("/seam/mobile_sdk/v1/phone_sessions/get_or_create", get_or_create_phone_session),
    Endpoint::get("/seam/mobile_sdk/v1/acs/credentials/list", list_credentials),
];

/// The person that the app's token speaks for.
fn person_of(call: &Call<'_>) -> Result<UserIdentityId, Refusal> {
    let session = call.session.and_then(|id| call.world.client_sessions.get(id));
    session
        .and_then(|session| session.user_identity_id)
        .ok_or_else(|| Refusal::bad("client_session_required", "A client session with a user identity is required"))
}

/// An app's installation is a phone: the first call of a new one registers it.
fn get_or_create_phone_session(call: &mut Call<'_>) -> Outcome {
    let person = person_of(call);
    let draft = call.read(|input| {
        let installation: String = input.required("custom_sdk_installation_id");
        let device_type = input.choice("phone_os", &[("ios", DeviceType::Ios), ("android", DeviceType::Android)]);
        if device_type.is_none() && !input.has("phone_os") {
            input.issue("phone_os", "Required");
        }
        let words = input.object("phone_device_metadata", |inner| {
            let manufacturer: Option<String> = inner.optional("manufacturer");
            let model: Option<String> = inner.optional("model");
            let os_version: Option<String> = inner.optional("os_version");
            (manufacturer, model, os_version)
        });
        let (manufacturer, model, os_version) = words.unwrap_or_default();
        PhoneDraft {
            device_type: device_type.unwrap_or(DeviceType::Ios),
            manufacturer: manufacturer.unwrap_or_else(|| "Unknown".to_owned()),
            model: model.unwrap_or_else(|| "Phone".to_owned()),
            os_version: os_version.unwrap_or_else(|| "1".to_owned()),
            installation: Some(installation),
        }
    })?;
    let person = person?;
    let known = call
        .world
        .user_identity(person)?
        .phones
        .iter()
        .copied()
        .find(|id| call.world.phones.get(*id).is_some_and(|phone| phone.installation == draft.installation));
    let device = match known {
        Some(device) => device,
        None => call.world.create_phone(person, draft, call.now)?,
    };
    let phone_session = crate::sandbox::wire::phone_session(call.world, person, device);
    Ok(Answer::of("phone_session", phone_session))
}

fn list_credentials(call: &mut Call<'_>) -> Outcome {
    let person = person_of(call);
    call.read(|_| ())?;
    let rows = call.world.credentials_of_person(person?);
    let keys = rows.filter(|row| row.device_id.is_some());
    let empty = json!([]);
    let keys = call.wires(keys);
    Ok(Answer::of("acs_credentials", if keys.is_empty() { empty } else { keys.into() }))
}
