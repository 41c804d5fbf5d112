//! `/user_identities/enrollment_automations/*`: undocumented since 2025 ("will be removed"), used by code of before.

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::world::ids::{AcsSystemId, AcsUserId, UserIdentityId};
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::post("/user_identities/enrollment_automations/launch", launch),
    Endpoint::get("/user_identities/enrollment_automations/get", get),
    Endpoint::get("/user_identities/enrollment_automations/list", list),
    Endpoint::delete("/user_identities/enrollment_automations/delete", delete),
];

fn launch(call: &mut Call<'_>) -> Outcome {
    let (person, manager, create_user, user) = call.read(|input| {
        let _: Option<String> = input.optional("acs_credential_pool_id");
        let person: UserIdentityId = input.required("user_identity_id");
        let manager: AcsSystemId = input.required("credential_manager_acs_system_id");
        let create_user: Option<bool> = input.optional("create_credential_manager_user");
        let user: Option<AcsUserId> = input.optional("credential_manager_acs_user_id");
        input.deprecated("enrollment_automations", "phones are enrolled automatically");
        (person, manager, create_user.unwrap_or_default(), user)
    })?;
    match (create_user, user) {
        (true, Some(_)) => {
            return Err(Refusal::together(
                "Specify only one of create_credential_manager_user and credential_manager_acs_user_id",
            ));
        }
        (true, None) => {
            call.world.acs_user_for(person, manager, call.now)?;
        }
        (false, Some(user)) => call.world.link(person, user, call.now)?,
        (false, None) => {}
    }
    let id = call.world.launch_enrollment(person, manager, call.now)?;
    Ok(call.one("enrollment_automation", call.world.enrollment_automation(id)?))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("enrollment_automation_id"))?;
    Ok(call.one("enrollment_automation", call.world.enrollment_automation(id)?))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let person = call.read(|input| input.required("user_identity_id"))?;
    let person = call.world.user_identity(person)?.user_identity_id;
    let rows = call.world.enrollment_automations.live().filter(|row| row.user_identity_id == person);
    Ok(Answer::of("enrollment_automations", call.wires(rows)))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("enrollment_automation_id"))?;
    call.world.delete_enrollment(id, call.now)?;
    Ok(Answer::void())
}
