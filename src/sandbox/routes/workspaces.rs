//! `/workspaces/*`.

use serde_json::json;

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};

pub(super) static ENDPOINTS: &[Endpoint] =
    &[Endpoint::get("/workspaces/get", get), Endpoint::post("/workspaces/reset_sandbox", reset_sandbox)];

fn get(call: &mut Call<'_>) -> Outcome {
    call.read(|_| ())?;
    Ok(Answer::of("workspace", crate::sandbox::wire::workspace(call.world)))
}

fn reset_sandbox(call: &mut Call<'_>) -> Outcome {
    call.read(|_| ())?;
    call.world.reset(call.now);
    let id: uuid::Uuid = call.world.chance.id();
    let attempt = json!({
        "action_attempt_id": id, "action_type": "RESET_SANDBOX_WORKSPACE", "status": "success", "result": {},
        "error": null,
    });
    Ok(Answer::of("action_attempt", attempt))
}
