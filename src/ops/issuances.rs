//! What became of plans, of people and of events.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::reply::{Answer, Refusal};
use super::request::{Page, Params, Segment};
use super::{Api, Desk, wire};
use crate::domain::{Issuance, Status};
use crate::store::IssuanceFilter;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    status: Option<String>,
    user_identity_id: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Params(params): Params<ListParams>,
) -> Answer<Json<wire::Issuances>> {
    let status = params.status.as_deref().map(status).transpose()?;
    let filter = IssuanceFilter { status, user_identity_id: params.user_identity_id, after: None };
    let (items, next) = desk.api.page(Page::new(params.limit, params.cursor), filter).await?;
    let issuances = desk.api.with_phones(items.into_iter().map(|(_, issuance)| issuance).collect()).await?;
    Ok(Json(wire::Issuances { issuances, next }))
}

fn status(word: &str) -> Answer<Status> {
    Status::parse(word).ok_or_else(|| {
        let words = Status::ALL.map(Status::as_str).join(", ");
        Refusal::parameter("status", format!("it is none of {words}"))
    })
}

pub(super) async fn get(State(desk): State<Arc<Desk>>, Segment(key): Segment) -> Answer<Json<wire::Issuance>> {
    let Some((_, issuance)) = desk.api.store.plan(&key).await? else {
        return Err(Refusal::NotFound { what: "plan", id: key });
    };
    let phones = desk.api.store.phone_keys(&key).await?;
    Ok(Json(wire::Issuance::new(issuance, phones.into_iter().map(wire::PhoneKey::from).collect())))
}

/// A person is known here by a phone or a plan.
pub(super) async fn of_person(State(desk): State<Arc<Desk>>, Segment(id): Segment) -> Answer<Json<wire::Person>> {
    let phones = desk.api.store.phones_of_person(&id).await?;
    let plans = desk.api.store.plans_of_person(&id).await?;
    if phones.is_empty() && plans.is_empty() {
        return Err(Refusal::NotFound { what: "user identity with a phone or a plan", id });
    }
    let issuances = plans.iter().map(|(_, issuance)| issuance.clone()).collect();
    Ok(Json(wire::Person {
        user_identity_id: id,
        phones: phones.into_iter().map(wire::Phone::from).collect(),
        plans: plans.into_iter().map(wire::Plan::from).collect(),
        issuances: desk.api.with_phones(issuances).await?,
    }))
}

/// An id is unique only within its source, so there may be several.
pub(super) async fn event(State(desk): State<Arc<Desk>>, Segment(id): Segment) -> Answer<Json<wire::Events>> {
    let events = desk.api.store.events(&id).await?;
    if events.is_empty() {
        return Err(Refusal::NotFound { what: "event", id });
    }
    Ok(Json(wire::Events { events: events.into_iter().map(wire::Event::from).collect(), next: None }))
}

impl Api {
    async fn with_phones(&self, issuances: Vec<Issuance>) -> Answer<Vec<wire::Issuance>> {
        let plan_keys: Vec<&str> = issuances.iter().map(|issuance| issuance.plan_key.as_str()).collect();
        let mut phones: HashMap<String, Vec<wire::PhoneKey>> = HashMap::new();
        for key in self.store.phone_keys_of_plans(&plan_keys).await? {
            phones.entry(key.plan_key.clone()).or_default().push(key.into());
        }
        let with_phones = |issuance: Issuance| {
            let phones = phones.remove(&issuance.plan_key).unwrap_or_default();
            wire::Issuance::new(issuance, phones)
        };
        Ok(issuances.into_iter().map(with_phones).collect())
    }
}
