//! `/webhooks/*`.

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::ids::WebhookId;
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::post("/webhooks/create", create),
    Endpoint::get("/webhooks/get", get),
    Endpoint::get("/webhooks/list", list),
    Endpoint::put("/webhooks/update", update),
    Endpoint::delete("/webhooks/delete", delete),
];

fn create(call: &mut Call<'_>) -> Outcome {
    let (url, event_types) = call.read(|input| {
        let url: String = input.required("url");
        let usable = url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if input.has("url") && !url.is_empty() && !usable {
            input.issue("url", "Invalid url");
        }
        let event_types: Option<Vec<String>> = input.optional("event_types");
        (url, event_types.unwrap_or_else(|| vec!["*".to_owned()]))
    })?;
    let id = call.world.create_webhook(url, event_types, call.now)?;
    Ok(call.one("webhook", call.world.webhook(id)?))
}

/// A webhook's id is any text in Seam's schema; one that is no id of ours names no webhook.
fn read_id(input: &mut Input) -> Option<WebhookId> {
    let text: String = input.required("webhook_id");
    uuid::Uuid::try_parse(&text).ok().map(WebhookId::from)
}

fn known(id: Option<WebhookId>) -> Result<WebhookId, Refusal> {
    id.ok_or_else(|| Refusal::not_found("webhook", "Webhook"))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let id = known(call.read(read_id)?)?;
    Ok(call.one("webhook", call.world.webhook(id)?))
}

fn list(call: &mut Call<'_>) -> Outcome {
    call.read(|_| ())?;
    Ok(Answer::of("webhooks", call.wires(call.world.webhooks.live())))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (id, event_types) = call.read(|input| {
        let event_types: Vec<String> = input.required("event_types");
        (read_id(input), event_types)
    })?;
    call.world.update_webhook(known(id)?, event_types)?;
    Ok(Answer::void())
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = known(call.read(read_id)?)?;
    call.world.delete_webhook(id, call.now)?;
    Ok(Answer::void())
}
