//! `/acs/users/*`.

use jiff::Timestamp;

use super::user_identities::email;
use super::{Call, Endpoint, matches_search};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::acs_user::{AccessSchedule, AcsUser, AcsUserDraft};
use crate::sandbox::world::ids::{AcsAccessGroupId, AcsSystemId, AcsUserId, UserIdentityId};
use crate::sandbox::world::people::Contact;
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::post("/acs/users/create", create),
    Endpoint::get("/acs/users/get", get),
    Endpoint::get("/acs/users/list", list),
    Endpoint::patch("/acs/users/update", update),
    Endpoint::delete("/acs/users/delete", delete),
    Endpoint::post("/acs/users/suspend", suspend),
    Endpoint::post("/acs/users/unsuspend", unsuspend),
    Endpoint::put("/acs/users/add_to_access_group", add_to_access_group),
    Endpoint::delete("/acs/users/remove_from_access_group", remove_from_access_group),
    Endpoint::get("/acs/users/list_accessible_entrances", list_accessible_entrances),
];

/// A user by its own id, or by a person's and a system's.
struct Name {
    user: Option<AcsUserId>,
    person: Option<UserIdentityId>,
    system: Option<AcsSystemId>,
}

impl Name {
    fn read(input: &mut Input) -> Self {
        Self {
            user: input.optional("acs_user_id"),
            person: input.optional("user_identity_id"),
            system: input.optional("acs_system_id"),
        }
    }

    fn find<'a>(&self, call: &'a Call<'_>) -> Result<&'a AcsUser, Refusal> {
        match (self.user, self.person, self.system) {
            (Some(user), ..) => call.world.acs_user(user),
            (None, Some(person), Some(system)) => {
                let found = call.world.acs_user_of(person, system);
                found.ok_or_else(|| Refusal::not_found("acs_user", "ACS user"))
            }
            _ => Err(Refusal::together("Must specify either acs_user_id or user_identity_id and acs_system_id")),
        }
    }
}

fn read_schedule(input: &mut Input) -> Option<AccessSchedule> {
    input.object("access_schedule", |inner| AccessSchedule {
        starts_at: inner.required("starts_at"),
        ends_at: inner.nullable("ends_at").flatten(),
    })
}

/// The e-mail address under its name, or under its name of old.
fn read_email(input: &mut Input) -> Option<String> {
    let old = email(input, "email").flatten();
    if old.is_some() {
        input.deprecated("email", "use email_address");
    }
    email(input, "email_address").flatten().or(old)
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (system, draft) = call.read(|input| {
        let system: AcsSystemId = input.required("acs_system_id");
        let contact = Contact {
            full_name: Some(input.required("full_name")),
            email_address: read_email(input),
            phone_number: input.optional("phone_number"),
        };
        let draft = AcsUserDraft {
            contact,
            user_identity_id: input.optional("user_identity_id"),
            access_schedule: read_schedule(input),
            access_groups: input.optional("acs_access_group_ids").unwrap_or_default(),
        };
        (system, draft)
    })?;
    let id = call.world.create_acs_user(system, draft, call.now)?;
    Ok(call.one("acs_user", call.world.acs_user(id)?))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let name = call.read(Name::read)?;
    Ok(call.one("acs_user", name.find(call)?))
}

struct Filter {
    system: Option<AcsSystemId>,
    person: Option<UserIdentityId>,
    email: Option<String>,
    phone_number: Option<String>,
    created_before: Option<Timestamp>,
    search: Option<String>,
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (filter, page) = call.read_page(500, |input| Filter {
        system: input.optional("acs_system_id"),
        person: input.optional("user_identity_id"),
        email: input.nullable("user_identity_email_address").flatten(),
        phone_number: input.nullable("user_identity_phone_number").flatten(),
        created_before: input.optional("created_before"),
        search: input.text("search"),
    })?;
    let world = &*call.world;
    let rows = world.acs_users.live().filter(|user| {
        let person =
            || user.user_identity_id.and_then(|id| world.user_identities.get(id)).map(|person| &person.contact);
        let names = [&user.contact.full_name, &user.contact.email_address, &user.contact.phone_number];
        filter.system.is_none_or(|system| user.acs_system_id == system)
            && filter.person.is_none_or(|id| user.user_identity_id == Some(id))
            && (filter.email.is_none() || person().is_some_and(|person| person.email_address == filter.email))
            && (filter.phone_number.is_none()
                || person().is_some_and(|person| person.phone_number == filter.phone_number))
            && filter.created_before.is_none_or(|before| user.created_at < before)
            && matches_search(filter.search.as_deref(), &names.map(|name| name.as_deref()))
    });
    page.answer("acs_users", rows, |row| call.wire(row))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (name, full_name, email, phone_number, schedule) = call.read(|input| {
        let _: Option<AcsSystemId> = input.optional("hid_acs_system_id");
        let schedule = if input.is_null("access_schedule") { Some(None) } else { read_schedule(input).map(Some) };
        let phone_number: Option<String> = input.optional("phone_number");
        (Name::read(input), input.text("full_name"), read_email(input), phone_number, schedule)
    })?;
    let id = name.find(call)?.acs_user_id;
    call.world.update_acs_user(id, |user| {
        user.contact.full_name = full_name.or(user.contact.full_name.take());
        user.contact.email_address = email.or(user.contact.email_address.take());
        user.contact.phone_number = phone_number.or(user.contact.phone_number.take());
        user.access_schedule = schedule.unwrap_or(user.access_schedule);
    })?;
    Ok(Answer::void())
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let name = call.read(Name::read)?;
    let id = name.find(call)?.acs_user_id;
    call.world.delete_acs_user(id, call.now)?;
    Ok(Answer::void())
}

fn suspend(call: &mut Call<'_>) -> Outcome {
    set_suspended(call, true)
}

fn unsuspend(call: &mut Call<'_>) -> Outcome {
    set_suspended(call, false)
}

fn set_suspended(call: &mut Call<'_>, is_suspended: bool) -> Outcome {
    let name = call.read(Name::read)?;
    let id = name.find(call)?.acs_user_id;
    call.world.update_acs_user(id, |user| user.is_suspended = is_suspended)?;
    Ok(Answer::void())
}

fn add_to_access_group(call: &mut Call<'_>) -> Outcome {
    let (user, group): (AcsUserId, AcsAccessGroupId) =
        call.read(|input| (input.required("acs_user_id"), input.required("acs_access_group_id")))?;
    call.world.add_to_access_group(user, group)?;
    Ok(Answer::void())
}

fn remove_from_access_group(call: &mut Call<'_>) -> Outcome {
    let (group, user, person) = call.read(|input| {
        let group: AcsAccessGroupId = input.required("acs_access_group_id");
        (group, input.optional("acs_user_id"), input.optional("user_identity_id"))
    })?;
    let system = Some(call.world.acs_access_group(group)?.acs_system_id);
    let id = Name { user, person, system }.find(call)?.acs_user_id;
    call.world.update_acs_user(id, |user| user.access_groups.retain(|other| *other != group))?;
    Ok(Answer::void())
}

fn list_accessible_entrances(call: &mut Call<'_>) -> Outcome {
    let name = call.read(Name::read)?;
    let doors = call.world.doors_of_acs_user(name.find(call)?);
    Ok(Answer::of("acs_entrances", call.wires(doors)))
}
