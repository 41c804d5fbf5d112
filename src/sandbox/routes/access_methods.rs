//! `/access_methods/*`.

use serde_json::{Map, Value};

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::world::access::AccessMethod;
use crate::sandbox::world::ids::{AccessGrantId, AccessMethodId, AcsEntranceId};
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::get("/access_methods/get", get),
    Endpoint::get("/access_methods/list", list),
    Endpoint::delete("/access_methods/delete", delete),
    Endpoint::get("/access_methods/get_related", get_related),
];

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("access_method_id"))?;
    Ok(call.one("access_method", call.world.access_method(id)?))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let ((grant, key, entrance, about_something_else), page) = call.read_page(500, |input| {
        let grant: Option<AccessGrantId> = input.optional("access_grant_id");
        let entrance: Option<AcsEntranceId> = input.optional("acs_entrance_id");
        let elsewhere = ["access_code_id", "device_id", "space_id"];
        let named = elsewhere.map(|name| input.optional::<Value>(name).is_some());
        (grant, input.text("access_grant_key"), entrance, named.contains(&true))
    })?;
    let world = &*call.world;
    let rows = world.access_methods.live().filter(|method| {
        let of = world.access_grants.at(method.access_grant_id);
        !about_something_else
            && grant.is_none_or(|grant| method.access_grant_id == grant)
            && (key.is_none() || of.is_some_and(|of| of.access_grant_key == key))
            && entrance.is_none_or(|entrance| of.is_some_and(|of| of.entrances.contains(&entrance)))
    });
    page.answer("access_methods", rows, |row| call.wire(row))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let (id, grant, reservation) = call.read(|input| {
        let id: Option<AccessMethodId> = input.optional("access_method_id");
        let grant: Option<AccessGrantId> = input.optional("access_grant_id");
        (id, grant, input.text("reservation_key"))
    })?;
    let world = &*call.world;
    let ids: Vec<AccessMethodId> = match (id, grant, reservation) {
        (Some(id), ..) => vec![id],
        (None, Some(grant), _) => world.access_grant(grant)?.access_methods.clone(),
        (None, None, Some(key)) => {
            let grants = world.access_grants.live().filter(|grant| grant.reservation_key.as_ref() == Some(&key));
            grants.flat_map(|grant| grant.access_methods.iter().copied()).collect()
        }
        (None, None, None) => {
            return Err(Refusal::together("Must specify access_method_id, access_grant_id or reservation_key"));
        }
    };
    for id in
        ids.into_iter().filter(|one| id.is_some() || call.world.access_methods.get(*one).is_some()).collect::<Vec<_>>()
    {
        call.world.delete_access_method(id, call.now)?;
    }
    Ok(Answer::void())
}

/// Everything that access methods hang together with, by kind. Kinds that the sandbox does not play are empty.
fn get_related(call: &mut Call<'_>) -> Outcome {
    let (ids, include, exclude) = call.read(|input| {
        let ids: Vec<AccessMethodId> = input.required("access_method_ids");
        let include: Option<Vec<String>> = input.optional("include");
        let exclude: Option<Vec<String>> = input.optional("exclude");
        (ids, include, exclude.unwrap_or_default())
    })?;
    let methods: Vec<&AccessMethod> = ids.iter().map(|id| call.world.access_method(*id)).collect::<Result<_, _>>()?;
    let world = &*call.world;
    let mut grants: Vec<AccessGrantId> = methods.iter().map(|method| method.access_grant_id).collect();
    grants.dedup();
    let grants: Vec<_> = grants.into_iter().filter_map(|id| world.access_grants.get(id)).collect();
    let doors = grants.iter().flat_map(|grant| &grant.entrances).filter_map(|id| world.entrances.get(*id));
    let credentials = methods.iter().flat_map(|method| &method.credentials).filter_map(|id| world.credentials.get(*id));
    let sessions = grants.iter().filter_map(|grant| world.client_sessions.get(grant.client_session_id?));
    let kinds = [
        ("access_methods", call.wires(methods.iter().copied())),
        ("access_grants", call.wires(grants.iter().copied())),
        ("acs_entrances", call.wires(doors)),
        ("acs_credentials", call.wires(credentials)),
        ("client_sessions", call.wires(sessions)),
        ("instant_keys", Vec::new()),
        ("spaces", Vec::new()),
        ("devices", Vec::new()),
    ];
    let wanted = |kind: &str| {
        include.as_ref().is_none_or(|include| include.iter().any(|one| one == kind))
            && !exclude.iter().any(|one| one == kind)
    };
    let batch: Map<String, Value> = kinds
        .into_iter()
        .filter(|(kind, _)| wanted(kind))
        .map(|(kind, rows)| (kind.to_owned(), Value::Array(rows)))
        .collect();
    Ok(Answer::of("batch", batch))
}
