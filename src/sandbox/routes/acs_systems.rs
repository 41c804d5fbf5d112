//! `/acs/systems/*`.

use super::{Call, Endpoint, matches_search};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::world::ids::ConnectedAccountId;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::get("/acs/systems/get", get),
    Endpoint::get("/acs/systems/list", list),
    Endpoint::get("/acs/systems/list_compatible_credential_manager_acs_systems", list_compatible),
];

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("acs_system_id"))?;
    Ok(call.one("acs_system", call.world.acs_system(id)?))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (account, customer, search) = call.read(|input| {
        let account: Option<ConnectedAccountId> = input.optional("connected_account_id");
        (account, input.text("customer_key"), input.text("search"))
    })?;
    let systems = call.world.systems.live().filter(|system| {
        account.is_none_or(|account| system.connected_account_id == account)
            // The seeded systems belong to no customer.
            && customer.is_none()
            && matches_search(search.as_deref(), &[Some(&system.name)])
    });
    Ok(Answer::of("acs_systems", call.wires(systems)))
}

fn list_compatible(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("acs_system_id"))?;
    let managers = call.world.compatible_managers(call.world.acs_system(id)?);
    Ok(Answer::of("acs_systems", call.wires(managers)))
}
