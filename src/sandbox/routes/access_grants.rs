//! `/access_grants/*`.

use jiff::Timestamp;

use super::user_identities::email;
use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::access::{AccessGrant, AccessGrantDraft};
use crate::sandbox::world::credential::AccessMethodMode;
use crate::sandbox::world::ids::{AccessGrantId, AcsEntranceId, AcsSystemId, UserIdentityId};
use crate::sandbox::world::people::Contact;
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::post("/access_grants/create", create),
    Endpoint::get("/access_grants/get", get),
    Endpoint::get("/access_grants/list", list),
    Endpoint::delete("/access_grants/delete", delete),
];

/// A person who may have to be made first.
type NewPerson = (Option<String>, Contact);

fn create(call: &mut Call<'_>) -> Outcome {
    let (person, new_person, mut draft) = call.read(|input| {
        let person: Option<UserIdentityId> = input.optional("user_identity_id");
        (person, read_person(input), read_draft(input))
    })?;
    draft.user_identity_id = match (person, new_person) {
        (Some(person), None) => person,
        (None, Some((key, contact))) => {
            let known = key.as_deref().and_then(|key| call.world.user_identity_by_key(key).ok());
            match known.map(|person| person.user_identity_id) {
                Some(person) => person,
                None => call.world.create_user_identity(key, contact, &[], call.now)?,
            }
        }
        _ => return Err(Refusal::together("Must specify either user_identity_id or user_identity")),
    };
    let id = call.world.create_access_grant(draft, call.now)?;
    Ok(call.one("access_grant", call.world.access_grant(id)?))
}

fn read_person(input: &mut Input) -> Option<NewPerson> {
    input.object("user_identity", |inner| {
        let key: Option<String> = inner.nullable("user_identity_key").flatten();
        let contact = Contact {
            full_name: inner.nullable("full_name").flatten(),
            email_address: email(inner, "email_address").flatten(),
            phone_number: inner.nullable("phone_number").flatten(),
        };
        (key, contact)
    })
}

fn read_draft(input: &mut Input) -> AccessGrantDraft {
    let methods = input.objects("requested_access_methods", |inner| {
        let mode = inner.choice("mode", AccessMethodMode::ALL);
        if mode.is_none() && !inner.has("mode") {
            inner.issue("mode", "Required");
        }
        let _: Option<usize> = inner.optional("instant_key_max_use_count");
        (mode.unwrap_or(AccessMethodMode::MobileKey), inner.pin("code"))
    });
    if methods.is_none() && !input.has("requested_access_methods") {
        input.issue("requested_access_methods", "Required");
    }
    // Devices, spaces and profiles are not played here: naming them is no mistake, and has no effect.
    for name in ["customization_profile_id", "device_ids", "location_ids", "space_ids", "space_keys"] {
        let _: Option<serde_json::Value> = input.optional(name);
    }
    let of_old: Option<Vec<AcsEntranceId>> = input.object("location", |inner| {
        let _: (Option<String>, Option<Vec<String>>) = (inner.optional("name"), inner.optional("device_ids"));
        inner.optional("acs_entrance_ids").unwrap_or_default()
    });
    let mut entrances: Vec<AcsEntranceId> = input.optional("acs_entrance_ids").unwrap_or_default();
    entrances.extend(of_old.into_iter().flatten());
    AccessGrantDraft {
        user_identity_id: UserIdentityId::default(),
        access_grant_key: input.text("access_grant_key"),
        entrances,
        name: input.nullable("name").flatten(),
        reservation_key: input.text("reservation_key"),
        starts_at: input.optional("starts_at"),
        ends_at: input.nullable("ends_at").flatten(),
        methods: methods.unwrap_or_default(),
    }
}

fn get(call: &mut Call<'_>) -> Outcome {
    let (id, key): (Option<AccessGrantId>, _) =
        call.read(|input| (input.optional("access_grant_id"), input.text("access_grant_key")))?;
    let row = match (id, key) {
        (Some(id), _) => call.world.access_grant(id)?,
        (None, Some(key)) => call.world.access_grant_by_key(&key)?,
        (None, None) => return Err(Refusal::together("Must specify either access_grant_id or access_grant_key")),
    };
    Ok(call.one("access_grant", row))
}

struct Filter {
    ids: Option<Vec<AccessGrantId>>,
    key: Option<String>,
    entrance: Option<AcsEntranceId>,
    system: Option<AcsSystemId>,
    reservation: Option<String>,
    person: Option<UserIdentityId>,
    created_before: Option<Timestamp>,
    about_something_else: bool,
}

fn read_filter(input: &mut Input) -> Filter {
    let elsewhere = ["access_code_id", "customer_key", "device_id", "location_id", "space_id"];
    let named = elsewhere.map(|name| input.optional::<serde_json::Value>(name).is_some());
    Filter {
        ids: input.optional("access_grant_ids"),
        key: input.nullable("access_grant_key").flatten(),
        entrance: input.optional("acs_entrance_id"),
        system: input.optional("acs_system_id"),
        reservation: input.text("reservation_key"),
        person: input.optional("user_identity_id"),
        created_before: input.optional("created_before"),
        about_something_else: named.contains(&true),
    }
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (filter, page) = call.read_page(500, read_filter)?;
    let world = &*call.world;
    let in_system = |grant: &AccessGrant, system| {
        let mut doors = grant.entrances.iter().filter_map(|id| world.entrances.at(*id));
        doors.any(|door| door.acs_system_id == system)
    };
    let rows = world.access_grants.live().filter(|grant| {
        !filter.about_something_else
            && filter.ids.as_ref().is_none_or(|ids| ids.contains(&grant.access_grant_id))
            && (filter.key.is_none() || grant.access_grant_key == filter.key)
            && filter.entrance.is_none_or(|entrance| grant.entrances.contains(&entrance))
            && filter.system.is_none_or(|system| in_system(grant, system))
            && (filter.reservation.is_none() || grant.reservation_key == filter.reservation)
            && filter.person.is_none_or(|person| grant.user_identity_id == person)
            && filter.created_before.is_none_or(|before| grant.created_at < before)
    });
    page.answer("access_grants", rows, |row| call.wire(row))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("access_grant_id"))?;
    call.world.delete_access_grant(id, call.now)?;
    Ok(Answer::void())
}
