//! `/user_identities/*`.

use jiff::Timestamp;

use super::{Call, Endpoint, matches_search};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::acs_user::AcsUser;
use crate::sandbox::world::ids::{AcsSystemId, AcsUserId, UserIdentityId};
use crate::sandbox::world::people::{Contact, UserIdentity};
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::post("/user_identities/create", create),
    Endpoint::get("/user_identities/get", get),
    Endpoint::get("/user_identities/list", list),
    Endpoint::patch("/user_identities/update", update),
    Endpoint::delete("/user_identities/delete", delete),
    Endpoint::post("/user_identities/merge", merge),
    Endpoint::put("/user_identities/add_acs_user", add_acs_user),
    Endpoint::delete("/user_identities/remove_acs_user", remove_acs_user),
    Endpoint::get("/user_identities/list_acs_users", list_acs_users),
    Endpoint::get("/user_identities/list_acs_systems", list_acs_systems),
    Endpoint::get("/user_identities/list_accessible_entrances", list_accessible_entrances),
    Endpoint::post("/user_identities/generate_instant_key", generate_instant_key),
];

/// A person by id or by key.
fn named<'a>(call: &'a Call<'_>, id: Option<UserIdentityId>, key: Option<&str>) -> Result<&'a UserIdentity, Refusal> {
    match (id, key) {
        (Some(id), _) => call.world.user_identity(id),
        (None, Some(key)) => call.world.user_identity_by_key(key),
        (None, None) => Err(Refusal::together("Must specify either user_identity_id or user_identity_key")),
    }
}

/// An e-mail address as far as it must be one: something, an @, something.
pub(super) fn email(input: &mut Input, name: &str) -> Option<Option<String>> {
    let given: Option<Option<String>> = input.nullable(name);
    let looks_right =
        |text: &str| text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if let Some(Some(text)) = &given
        && !looks_right(text)
    {
        input.issue(name, "Invalid email");
    }
    given
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (key, contact, systems) = call.read(|input| {
        let key: Option<String> = input.nullable("user_identity_key").flatten();
        let contact = Contact {
            full_name: input.nullable("full_name").flatten(),
            email_address: email(input, "email_address").flatten(),
            phone_number: input.nullable("phone_number").flatten(),
        };
        let systems: Vec<AcsSystemId> = input.optional("acs_system_ids").unwrap_or_default();
        (key, contact, systems)
    })?;
    let id = call.world.create_user_identity(key, contact, &systems, call.now)?;
    Ok(call.one("user_identity", call.world.user_identity(id)?))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let (id, key) = call.read(|input| (input.optional("user_identity_id"), input.text("user_identity_key")))?;
    Ok(call.one("user_identity", named(call, id, key.as_deref())?))
}

fn list(call: &mut Call<'_>) -> Outcome {
    type Filter = (Option<Timestamp>, Option<AcsSystemId>, Option<Vec<UserIdentityId>>, Option<String>);
    let ((before, manager, ids, search), page): (Filter, _) = call.read_page(500, |input| {
        let before = input.optional("created_before");
        let manager = input.optional("credential_manager_acs_system_id");
        (before, manager, input.optional("user_identity_ids"), input.text("search"))
    })?;
    let world = &*call.world;
    let rows = world.user_identities.live().filter(|person| {
        let contact = &person.contact;
        let names = [&contact.full_name, &contact.email_address, &contact.phone_number, &person.user_identity_key];
        before.is_none_or(|before| person.created_at < before)
            && ids.as_ref().is_none_or(|ids| ids.contains(&person.user_identity_id))
            && manager.is_none_or(|manager| world.is_user_of(person, manager))
            && matches_search(search.as_deref(), &names.map(|name| name.as_deref()))
    });
    page.answer("user_identities", rows, |row| call.wire(row))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (id, key, email, full_name, phone_number) = call.read(|input| {
        let id: UserIdentityId = input.required("user_identity_id");
        let key: Option<Option<String>> = input.nullable("user_identity_key");
        let full_name: Option<Option<String>> = input.nullable("full_name");
        let phone_number: Option<Option<String>> = input.nullable("phone_number");
        (id, key, email(input, "email_address"), full_name, phone_number)
    })?;
    call.world.update_user_identity(id, |old_key, contact| {
        *old_key = key.unwrap_or(old_key.take());
        contact.email_address = email.unwrap_or(contact.email_address.take());
        contact.full_name = full_name.unwrap_or(contact.full_name.take());
        contact.phone_number = phone_number.unwrap_or(contact.phone_number.take());
    })?;
    Ok(Answer::void())
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("user_identity_id"))?;
    call.world.delete_user_identity(id, call.now)?;
    Ok(Answer::void())
}

fn merge(call: &mut Call<'_>) -> Outcome {
    let (id, key, ids, keys) = call.read(|input| {
        let id: Option<UserIdentityId> = input.optional("user_identity_id");
        let ids: Vec<UserIdentityId> = input.optional("merged_user_identity_ids").unwrap_or_default();
        let keys: Vec<String> = input.optional("merged_user_identity_keys").unwrap_or_default();
        (id, input.text("user_identity_key"), ids, keys)
    })?;
    let into = named(call, id, key.as_deref())?.user_identity_id;
    let mut others = Vec::new();
    for id in ids {
        others.push(call.world.user_identity(id)?.user_identity_id);
    }
    for key in keys {
        others.push(call.world.user_identity_by_key(&key)?.user_identity_id);
    }
    if others.is_empty() || others.contains(&into) {
        return Err(Refusal::together("Must specify other user identities to merge"));
    }
    for other in others {
        call.world.merge_user_identity(into, other, call.now)?;
    }
    Ok(Answer::void())
}

fn add_acs_user(call: &mut Call<'_>) -> Outcome {
    let (user, id, key) = call.read(|input| {
        let user: AcsUserId = input.required("acs_user_id");
        (user, input.optional("user_identity_id"), input.text("user_identity_key"))
    })?;
    let person = named(call, id, key.as_deref())?.user_identity_id;
    call.world.link(person, user, call.now)?;
    Ok(Answer::void())
}

fn remove_acs_user(call: &mut Call<'_>) -> Outcome {
    let (user, person) = call.read(|input| {
        let user: AcsUserId = input.required("acs_user_id");
        let person: UserIdentityId = input.required("user_identity_id");
        (user, person)
    })?;
    let person = call.world.user_identity(person)?.user_identity_id;
    if call.world.acs_user(user)?.user_identity_id != Some(person) {
        return Err(Refusal::not_found("acs_user", "ACS user"));
    }
    call.world.unlink(user)?;
    Ok(Answer::void())
}

/// The ACS users of the person that the call names.
fn users<'a>(call: &'a Call<'_>, id: UserIdentityId) -> Result<Vec<&'a AcsUser>, Refusal> {
    let person = call.world.user_identity(id)?;
    Ok(person.acs_users.iter().filter_map(|user| call.world.acs_users.get(*user)).collect())
}

fn list_acs_users(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("user_identity_id"))?;
    Ok(Answer::of("acs_users", call.wires(users(call, id)?)))
}

fn list_acs_systems(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("user_identity_id"))?;
    let users = users(call, id)?;
    let systems = users.iter().filter_map(|user| call.world.systems.get(user.acs_system_id));
    Ok(Answer::of("acs_systems", call.wires(systems)))
}

fn list_accessible_entrances(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("user_identity_id"))?;
    let users = users(call, id)?;
    let doors = users.iter().flat_map(|user| call.world.doors_of_acs_user(user));
    Ok(Answer::of("acs_entrances", call.wires(doors)))
}

fn generate_instant_key(call: &mut Call<'_>) -> Outcome {
    let (person, _max_use_count) = call.read(|input| {
        let _: Option<String> = input.optional("customization_profile_id");
        let person: UserIdentityId = input.required("user_identity_id");
        let max_use_count: Option<usize> = input.optional("max_use_count");
        (person, max_use_count)
    })?;
    let key = call.world.generate_instant_key(person, call.now)?;
    Ok(call.one("instant_key", &key))
}
