//! `/acs/credentials/*`.

use jiff::Timestamp;

use super::{Call, Endpoint, matches_search};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::credential::{AccessMethodMode, Credential, CredentialDraft};
use crate::sandbox::world::family;
use crate::sandbox::world::ids::{AcsCredentialId, AcsSystemId, AcsUserId, UserIdentityId};
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::post("/acs/credentials/create", create),
    Endpoint::get("/acs/credentials/get", get),
    Endpoint::get("/acs/credentials/list", list),
    Endpoint::patch("/acs/credentials/update", update),
    Endpoint::delete("/acs/credentials/delete", delete),
    Endpoint::patch("/acs/credentials/assign", assign),
    Endpoint::patch("/acs/credentials/unassign", unassign),
    Endpoint::get("/acs/credentials/list_accessible_entrances", list_accessible_entrances),
];

/// A draft whose user may still have to be found.
struct Asked {
    draft: CredentialDraft,
    acs_user_id: Option<AcsUserId>,
    user_identity_id: Option<UserIdentityId>,
    acs_system_id: Option<AcsSystemId>,
}

fn create(call: &mut Call<'_>) -> Outcome {
    let mut asked = call.read(read_draft)?;
    asked.draft.acs_user_id = match (asked.acs_user_id, asked.user_identity_id, asked.acs_system_id) {
        (Some(user), ..) => user,
        (None, Some(person), Some(system)) => call.world.acs_user_for(person, system, call.now)?,
        _ => return Err(Refusal::together("Must specify either acs_user_id or user_identity_id and acs_system_id")),
    };
    let id = call.world.create_credential(asked.draft, call.now)?;
    Ok(call.one("acs_credential", call.world.credential(id)?))
}

fn read_draft(input: &mut Input) -> Asked {
    let is_multi_phone_sync = input.optional("is_multi_phone_sync_credential").unwrap_or_default();
    let access_method = input.choice("access_method", AccessMethodMode::ALL);
    read_older_forms(input, access_method.is_some(), is_multi_phone_sync);
    let draft = CredentialDraft {
        acs_user_id: AcsUserId::default(),
        access_method: access_method.unwrap_or(AccessMethodMode::MobileKey),
        is_multi_phone_sync,
        credential_manager: input.optional("credential_manager_acs_system_id"),
        entrances: input.optional("allowed_acs_entrance_ids").unwrap_or_default(),
        starts_at: input.optional("starts_at"),
        ends_at: input.optional("ends_at"),
        code: input.pin("code"),
        metadata: family::read_metadata(input),
        access_method_id: None,
    };
    Asked {
        draft,
        acs_user_id: input.optional("acs_user_id"),
        user_identity_id: input.optional("user_identity_id"),
        acs_system_id: input.optional("acs_system_id"),
    }
}

/// Until early 2024 a multi-phone sync credential named no `access_method`, and `card_format` and `facility_code` stood
/// at the top level. Such a call is taken as it was meant; today's Seam would refuse it for want of `access_method`.
fn read_older_forms(input: &mut Input, has_access_method: bool, is_multi_phone_sync: bool) {
    if !has_access_method && !input.has("access_method") {
        if is_multi_phone_sync {
            input.deprecated("access_method is missing", "say mobile_key");
        } else {
            input.issue("access_method", "Required");
        }
    }
    for name in ["card_format", "facility_code"] {
        if input.optional::<serde_json::Value>(name).is_some() {
            input.deprecated(name, "it has no effect at the top level; see visionline_metadata");
        }
    }
}

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("acs_credential_id"))?;
    Ok(call.one("acs_credential", call.world.credential(id)?))
}

#[derive(Default)]
struct Filter {
    user: Option<AcsUserId>,
    person: Option<UserIdentityId>,
    system: Option<AcsSystemId>,
    is_multi_phone_sync: Option<bool>,
    created_before: Option<Timestamp>,
    search: Option<String>,
}

impl Filter {
    fn takes(&self, row: &Credential) -> bool {
        self.system.is_none_or(|system| row.acs_system_id == system)
            && self.is_multi_phone_sync.is_none_or(|wanted| row.is_multi_phone_sync == wanted)
            && self.created_before.is_none_or(|before| row.created_at < before)
            && matches_search(self.search.as_deref(), &[Some(&row.display_name), row.card_number.as_deref()])
    }
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (filter, page) = call.read_page(500, |input| Filter {
        user: input.optional("acs_user_id"),
        person: input.optional("user_identity_id"),
        system: input.optional("acs_system_id"),
        is_multi_phone_sync: input.optional("is_multi_phone_sync_credential"),
        created_before: input.optional("created_before"),
        search: input.text("search"),
    })?;
    let world = &*call.world;
    // A user's or a person's credentials are few and known; only the rest is looked through as a whole.
    let candidates: Vec<&Credential> = match (filter.user, filter.person) {
        (Some(user), person) => world
            .acs_users
            .get(user)
            .filter(|row| person.is_none() || row.user_identity_id == person)
            .map(|row| row.credentials.iter().filter_map(|id| world.credentials.get(*id)).collect())
            .unwrap_or_default(),
        (None, Some(person)) => {
            let mut rows: Vec<&Credential> = world.credentials_of_person(person).collect();
            rows.sort_by_key(|row| row.created_at);
            rows
        }
        (None, None) => world.credentials.live().collect(),
    };
    let rows = candidates.into_iter().filter(|row| filter.takes(row));
    page.answer("acs_credentials", rows, |row| call.wire(row))
}

/// Seam's reference and SDKs take `update`, `assign` and `unassign` for void; its OpenAPI document requires the
/// object. Both are sent.
fn changed(call: &Call<'_>, id: AcsCredentialId) -> Outcome {
    Ok(call.one("acs_credential", call.world.credential(id)?))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (id, code, ends_at) =
        call.read(|input| (input.required("acs_credential_id"), input.pin("code"), input.optional("ends_at")))?;
    call.world.update_credential(id, code.as_deref(), ends_at, call.now)?;
    changed(call, id)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("acs_credential_id"))?;
    call.world.delete_credential(id, call.now)?;
    Ok(Answer::void())
}

type Assignment = (AcsCredentialId, Option<AcsUserId>, Option<UserIdentityId>);

fn read_assignment(input: &mut Input) -> Assignment {
    (input.required("acs_credential_id"), input.optional("acs_user_id"), input.optional("user_identity_id"))
}

fn assign(call: &mut Call<'_>) -> Outcome {
    let (id, user, person) = call.read(read_assignment)?;
    let user = match (user, person) {
        (Some(user), _) => user,
        (None, Some(person)) => {
            let system = call.world.credential(id)?.acs_system_id;
            call.world.acs_user_for(person, system, call.now)?
        }
        (None, None) => return Err(Refusal::together("Must specify either acs_user_id or user_identity_id")),
    };
    call.world.assign_credential(id, Some(user), call.now)?;
    changed(call, id)
}

fn unassign(call: &mut Call<'_>) -> Outcome {
    let (id, user, person) = call.read(read_assignment)?;
    let row = call.world.credential(id)?;
    let user =
        user.or(person.and_then(|person| call.world.acs_user_of(person, row.acs_system_id)).map(|row| row.acs_user_id));
    if user.is_some() && row.acs_user_id != user {
        return Err(Refusal::bad("acs_credential_not_assigned", "The credential is not assigned to this ACS user"));
    }
    call.world.assign_credential(id, None, call.now)?;
    changed(call, id)
}

fn list_accessible_entrances(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("acs_credential_id"))?;
    let row = call.world.credential(id)?;
    let doors = call.world.doors_of_credential(row);
    Ok(Answer::of("acs_entrances", call.wires(doors)))
}
