//! Issuance plans: put, shown, listed, cancelled.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::SignedDuration;
use serde::de::IgnoredAny;

use super::plan_ids::{self, Findings};
use super::reply::{Answer, Refusal};
use super::request::{JsonBody, Page, Params, Segment};
use super::{Api, Desk, wire};
use crate::domain::{FieldError, Issuance, Plan, PlanSpec};
use crate::store::{DeletedPlan, IssuanceFilter, PutPlan};

/// What the one who puts a plan waits for the provider's word about its ids; the plan can stand without it.
const CHECK_TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

pub(super) async fn list(State(desk): State<Arc<Desk>>, Params(page): Params<Page>) -> Answer<Json<wire::Plans>> {
    let (plans, next) = desk.api.page(page, IssuanceFilter::default()).await?;
    Ok(Json(wire::Plans { plans: plans.into_iter().map(wire::Plan::from).collect(), next }))
}

pub(super) async fn get(State(desk): State<Arc<Desk>>, Segment(key): Segment) -> Answer<Json<wire::Plan>> {
    desk.api.plan(&key).await.map(Json)
}

pub(super) async fn put(
    State(desk): State<Arc<Desk>>,
    Segment(key): Segment,
    JsonBody(body): JsonBody,
) -> Answer<Response> {
    let api = &desk.api;
    let spec = read(&body)?;
    let unverified = match api.store.plan(&key).await? {
        // It was good when it was put. A nightly sync that puts everything again costs no call to the provider.
        Some((before, _)) if before.deleted_at.is_none() && before.spec == spec => None,
        before => api.judge(&key, &spec, before).await?,
    };
    let plan = Plan { key, spec, put_at: api.clock.now(), deleted_at: None };
    let status = match api.store.put_plan(&plan).await? {
        PutPlan::Created => StatusCode::CREATED,
        PutPlan::Updated | PutPlan::Unchanged => StatusCode::OK,
        PutPlan::Conflict { why } => return Err(Refusal::PlanConflict(why)),
    };
    let plan = wire::Plan { unverified, ..api.plan(&plan.key).await? };
    Ok((status, Json(plan)).into_response())
}

/// 202, because the worker has yet to delete the credential. The same again is the same.
pub(super) async fn delete(
    State(desk): State<Arc<Desk>>,
    Segment(key): Segment,
) -> Answer<(StatusCode, Json<wire::Plan>)> {
    match desk.api.store.delete_plan(&key).await? {
        DeletedPlan::Deleted | DeletedPlan::AlreadyDeleted => {
            Ok((StatusCode::ACCEPTED, Json(desk.api.plan(&key).await?)))
        }
        DeletedPlan::NotFound => Err(Refusal::NotFound { what: "plan", id: key }),
    }
}

/// What is no JSON at all is a fault of the client's; what is JSON and no plan is the plan's.
fn read(body: &[u8]) -> Answer<PlanSpec> {
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| Refusal::NoJson(error.to_string()))?;
    PlanSpec::from_json(body).map_err(|problem| Refusal::Plan(vec![problem]))
}

impl Api {
    async fn plan(&self, key: &str) -> Answer<wire::Plan> {
        let found = self.store.plan(key).await?;
        found.map(wire::Plan::from).ok_or_else(|| Refusal::NotFound { what: "plan", id: key.to_owned() })
    }

    /// Refuses a plan that cannot work; or says why nobody could tell.
    async fn judge(&self, key: &str, spec: &PlanSpec, before: Option<(Plan, Issuance)>) -> Answer<Option<String>> {
        let mut problems: Vec<FieldError> = spec.problems(key, self.clock.now());
        let mut unverified = None;
        // Where only the end moves, the ids are those that were asked about before.
        if !before.is_some_and(|(plan, _)| plan.deleted_at.is_none() && plan.spec.same_but_for_end(spec)) {
            let mut findings = self.ask(spec).await;
            // One complaint about a field is enough, and ours is the plainer one.
            findings.problems.retain(|finding| !problems.iter().any(|problem| problem.field == finding.field));
            problems.append(&mut findings.problems);
            unverified = findings.unverified;
        }
        if problems.is_empty() { Ok(unverified.map(|why| explained(&why))) } else { Err(Refusal::Plan(problems)) }
    }

    async fn ask(&self, spec: &PlanSpec) -> Findings {
        tokio::select! {
            biased;
            findings = plan_ids::check(self.provider.as_ref(), spec) => findings,
            () = self.clock.sleep(CHECK_TIMEOUT) => Findings {
                unverified: Some(format!("no answer within {CHECK_TIMEOUT:#}")),
                ..Findings::default()
            },
        }
    }

    /// One page of plans with their issuances, and the cursor of the next.
    pub(super) async fn page(
        &self,
        page: Page,
        filter: IssuanceFilter,
    ) -> Answer<(Vec<(Plan, Issuance)>, Option<String>)> {
        let limit = page.limit()?;
        let filter = IssuanceFilter { after: page.cursor(), ..filter };
        // One more than asked for tells whether there is a next page.
        let mut items = self.store.issuances(&filter, limit + 1).await?;
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| has_more).map(|(plan, _)| plan.key.clone());
        Ok((items, next))
    }
}

fn explained(why: &str) -> String {
    format!("the provider could not be asked whether the ids exist ({why}); the worker will find out")
}
