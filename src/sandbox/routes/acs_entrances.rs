//! `/acs/entrances/*`.

use std::collections::HashSet;

use super::{Call, Endpoint, matches_search};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::World;
use crate::sandbox::world::ids::{
    AccessMethodId, AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, ConnectedAccountId, UserIdentityId,
};
use crate::sandbox::world::refusal::Refusal;
use crate::sandbox::world::system::AcsEntrance;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::get("/acs/entrances/get", get),
    Endpoint::get("/acs/entrances/list", list),
    Endpoint::post("/acs/entrances/grant_access", grant_access),
    Endpoint::get("/acs/entrances/list_credentials_with_access", list_credentials_with_access),
];

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("acs_entrance_id"))?;
    Ok(call.one("acs_entrance", call.world.acs_entrance(id)?))
}

struct Filter {
    credential: Option<AcsCredentialId>,
    method: Option<AccessMethodId>,
    ids: Option<Vec<AcsEntranceId>>,
    system: Option<AcsSystemId>,
    account: Option<ConnectedAccountId>,
    customer: Option<String>,
    /// Spaces are not played here, so no entrance is in one.
    in_space: bool,
    search: Option<String>,
}

fn read_filter(input: &mut Input) -> Filter {
    let space: Option<String> = input.optional("space_id");
    let location: Option<String> = input.nullable("location_id").flatten();
    Filter {
        credential: input.optional("acs_credential_id"),
        method: input.optional("access_method_id"),
        ids: input.optional("acs_entrance_ids"),
        system: input.optional("acs_system_id"),
        account: input.optional("connected_account_id"),
        customer: input.text("customer_key"),
        in_space: space.or(location).is_some(),
        search: input.text("search"),
    }
}

impl Filter {
    fn takes(&self, world: &World, door: &AcsEntrance) -> bool {
        let account = || world.systems.get(door.acs_system_id).map(|system| system.connected_account_id);
        self.ids.as_ref().is_none_or(|ids| ids.contains(&door.acs_entrance_id))
            && self.system.is_none_or(|system| door.acs_system_id == system)
            && self.account.is_none_or(|wanted| account() == Some(wanted))
            && self.customer.is_none()
            && !self.in_space
            && matches_search(self.search.as_deref(), &[Some(&door.display_name)])
    }
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (filter, page) = call.read_page(900, read_filter)?;
    let world = &*call.world;
    let mut opened: Option<HashSet<AcsEntranceId>> = None;
    if let Some(id) = filter.credential {
        let doors = world.doors_of_credential(world.credential(id)?);
        opened = Some(doors.into_iter().map(|door| door.acs_entrance_id).collect());
    }
    if let Some(id) = filter.method {
        let grant = world.access_method(id)?.access_grant_id;
        opened = Some(world.access_grant(grant)?.entrances.iter().copied().collect());
    }
    let rows = world.entrances.live().filter(|door| {
        opened.as_ref().is_none_or(|opened| opened.contains(&door.acs_entrance_id)) && filter.takes(world, door)
    });
    page.answer("acs_entrances", rows, |row| call.wire(row))
}

fn grant_access(call: &mut Call<'_>) -> Outcome {
    let (door, user, person) = call.read(|input| {
        let user: Option<AcsUserId> = input.optional("acs_user_id");
        let person: Option<UserIdentityId> = input.optional("user_identity_id");
        (input.required("acs_entrance_id"), user, person)
    })?;
    let system = call.world.acs_entrance(door)?.acs_system_id;
    let user = match (user, person) {
        (Some(user), _) => user,
        (None, Some(person)) => call.world.acs_user_for(person, system, call.now)?,
        (None, None) => return Err(Refusal::together("Must specify either acs_user_id or user_identity_id")),
    };
    call.world.grant_entrance(user, door)?;
    Ok(Answer::void())
}

fn list_credentials_with_access(call: &mut Call<'_>) -> Outcome {
    let (id, include_if) = call.read(|input| {
        let include_if: Option<Vec<String>> = input.optional("include_if");
        (input.required("acs_entrance_id"), include_if.unwrap_or_default())
    })?;
    let world = &*call.world;
    world.acs_entrance(id)?;
    let only_valid = include_if.iter().any(|condition| condition == "visionline_metadata.is_valid");
    let rows = world.credentials.live().filter(|row| {
        row.entrances.contains(&id) && (!only_valid || row.metadata.get("is_valid") == Some(&true.into()))
    });
    Ok(Answer::of("acs_credentials", call.wires(rows)))
}
