//! The control room, `/_sandbox/*`: seeing everything, beginning again, and ordering what shall go wrong.
//!
//! Not part of Seam, and without authentication: whoever reaches the sandbox may play with it.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sandbox;
use super::answer::{Answer, error_response, json_response};
use super::deliver::SenderKind;
use super::faults::{Fault, Order, duration};
use super::wire::{records, workspace};
use super::world::World;
use super::world::ids::WebhookId;
use super::world::moment::At;

pub(crate) fn router() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/world", get(world))
        .route("/_sandbox/reset", post(reset))
        .route("/_sandbox/rules", get(rules).post(set_rules))
        .route("/_sandbox/faults", get(faults).post(order_fault).delete(clear_faults))
        .route("/_sandbox/delivery", get(delivery).post(set_delivery))
        .route("/_sandbox/senders", post(add_sender))
        .route("/_sandbox/webhooks/rotate_secret", post(rotate_secret))
}

fn ok() -> Response {
    Answer::void().into_response()
}

fn bad(message: impl AsRef<str>) -> Response {
    error_response(StatusCode::BAD_REQUEST, "invalid_input", message.as_ref())
}

/// Everything there is and was, under Seam's plural names.
async fn world(State(sandbox): State<Sandbox>) -> Response {
    let world = sandbox.with_world(|world, now| {
        let mut everything = describe(world);
        everything["now"] = json!(At(now));
        everything
    });
    json_response(StatusCode::OK, &world)
}

fn describe(world: &World) -> Value {
    json!({
        "workspaces": [workspace(world)],
        "acs_systems": records(world, world.systems.all()),
        "acs_entrances": records(world, world.entrances.all()),
        "acs_access_groups": records(world, world.access_groups.all()),
        "user_identities": records(world, world.user_identities.all()),
        "acs_users": records(world, world.acs_users.all()),
        "acs_credentials": records(world, world.credentials.all()),
        "phones": records(world, world.phones.all()),
        "enrollment_automations": records(world, world.enrollment_automations.all()),
        "client_sessions": records(world, world.client_sessions.all()),
        "instant_keys": records(world, world.instant_keys.all()),
        "access_grants": records(world, world.access_grants.all()),
        "access_methods": records(world, world.access_methods.all()),
        "webhooks": records(world, world.webhooks.all()),
        "events": world.events.iter().map(|event| json!(event.as_ref())).collect::<Vec<Value>>(),
    })
}

/// As it was when it opened: the seeded world, the rules of the start, no faults, no habits, no senders.
async fn reset(State(sandbox): State<Sandbox>) -> Response {
    sandbox.reset();
    ok()
}

async fn rules(State(sandbox): State<Sandbox>) -> Response {
    sandbox.with_world(|world, _| Json(world.rules.clone())).into_response()
}

/// Changes the rules that are named; the others stay. What is under way keeps its times.
async fn set_rules(State(sandbox): State<Sandbox>, Json(changes): Json<serde_json::Map<String, Value>>) -> Response {
    let outcome = sandbox.with_world(|world, _| {
        let mut rules = serde_json::to_value(&world.rules).unwrap_or_default();
        if let Value::Object(fields) = &mut rules {
            fields.extend(changes);
        }
        world.rules = serde_json::from_value(rules).map_err(|error| error.to_string())?;
        Ok::<_, String>(())
    });
    outcome.map_or_else(bad, |()| ok())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    path: String,
    fault: String,
    times: Option<u32>,
}

async fn faults(State(sandbox): State<Sandbox>) -> Response {
    let orders = sandbox.with_faults(|faults| json!(faults.orders()));
    json_response(StatusCode::OK, &json!({"faults": orders, "ok": true}))
}

async fn order_fault(State(sandbox): State<Sandbox>, Json(order): Json<FaultOrder>) -> Response {
    let fault: Fault = match order.fault.parse() {
        Ok(fault) => fault,
        Err(message) => return bad(message),
    };
    if order.path != "*" && super::routes::find(&order.path).is_none() {
        return bad(format!("{} is no path of Seam's that the sandbox knows", order.path));
    }
    if order.times != Some(0) {
        let order = Order { path: order.path, fault, text: order.fault, times: order.times };
        sandbox.with_faults(|faults| faults.order(order));
    }
    ok()
}

async fn clear_faults(State(sandbox): State<Sandbox>) -> Response {
    sandbox.with_faults(super::faults::Faults::clear);
    ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryOrder {
    duplicate: Option<f64>,
    reorder: Option<f64>,
    drop: Option<f64>,
    delay: Option<String>,
}

async fn delivery(State(sandbox): State<Sandbox>) -> Response {
    let habits = sandbox.with_outbox(|outbox| json!(outbox.habits));
    json_response(StatusCode::OK, &habits)
}

/// What is not named is as it should be: no duplicates, no delay.
async fn set_delivery(State(sandbox): State<Sandbox>, Json(order): Json<DeliveryOrder>) -> Response {
    let chances = [order.duplicate, order.reorder, order.drop].map(Option::unwrap_or_default);
    if chances.iter().any(|chance| !(0.0..=1.0).contains(chance)) {
        return bad("a chance is a number from 0 to 1");
    }
    let delay = match order.delay.as_deref().map(duration).transpose() {
        Ok(delay) => delay.unwrap_or_default(),
        Err(message) => return bad(message),
    };
    sandbox.with_outbox(|outbox| {
        [outbox.habits.duplicate, outbox.habits.reorder, outbox.habits.drop] = chances;
        outbox.habits.delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
    });
    ok()
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum SenderOrder {
    Standard { url: String, secret: String },
    HidOrigo { url: String, header: String, secret: String },
}

async fn add_sender(State(sandbox): State<Sandbox>, Json(order): Json<SenderOrder>) -> Response {
    let (kind, url, secret) = match order {
        SenderOrder::Standard { url, secret } => {
            if super::sign::key(&secret).is_none() {
                return bad("secret must be whsec_ and base64");
            }
            (SenderKind::Standard, url, secret)
        }
        SenderOrder::HidOrigo { url, header, secret } => {
            let sound = http::HeaderName::try_from(&header).is_ok() && http::HeaderValue::try_from(&secret).is_ok();
            if !sound {
                return bad("header and secret must fit into an HTTP header");
            }
            (SenderKind::HidOrigo { header }, url, secret)
        }
    };
    if !url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return bad("url must be an http or https URL");
    }
    let sender_id = sandbox.with_outbox(|outbox| outbox.add_sender(kind, url, secret));
    Answer::of("sender_id", sender_id).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    webhook_id: uuid::Uuid,
}

/// A new secret for a webhook; the old one signs along for a day (at `speed`).
async fn rotate_secret(State(sandbox): State<Sandbox>, Json(order): Json<Rotation>) -> Response {
    let rotated = sandbox.with_world(|world, now| world.rotate_webhook_secret(WebhookId::from(order.webhook_id), now));
    match rotated {
        Ok(secret) => Answer::of("secret", secret).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
