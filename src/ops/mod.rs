//! The ops port: health and metrics for machines, the API for the customer's systems and for operators.
//!
//! It reads through the store and changes nothing itself: putting a plan, cancelling one, releasing something parked
//! each put an event into the front of the flow, and a worker acts. No row is edited from here.

mod front;
mod guard;
mod health;
mod issuances;
mod ledger;
mod page;
mod parked;
mod plan_ids;
mod plans;
mod reply;
mod request;
mod scrape;
mod sources;
mod status;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{MethodRouter, any, get, post};
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::provider::Provider;
use crate::queue::Envelope;
use crate::store::{ParkedItem, Store, StoreError};

pub use front::Front;
use guard::Guard;
pub use health::{Check, Health};
use scrape::Scrape;

/// Everything that is behind the port.
pub struct Ops {
    pub health: Health,
    /// What this process has counted.
    pub metrics: PrometheusHandle,
    /// Without one the port takes requests from this machine only, and it is the caller who must bind it to loopback.
    pub token: Option<SecretString>,
    pub behind: Behind,
}

/// What is behind `/v1`.
pub enum Behind {
    /// Nothing: a receiver alone has no store to speak of.
    Nothing,
    /// Nothing yet: the store is not open.
    Opening,
    Api(Api),
}

/// What the API under `/v1` needs.
pub struct Api {
    pub store: Store,
    /// Asked whether the ids in a plan exist.
    pub provider: Arc<dyn Provider>,
    pub clock: Arc<dyn Clock>,
    /// The limits on calls to the provider, and how much of them is used.
    pub calls: Arc<Calls>,
    /// Reads a parked delivery again, as its source's receiver would now; or says why it still cannot be read.
    pub reread: Arc<Reread>,
    /// The names of the secrets that webhooks may be signed with now; `None` where this process receives none.
    pub secrets: Option<Arc<dyn Fn() -> SecretNames + Send + Sync>>,
    /// Ends the streams, which would otherwise outlast every drain.
    pub shutdown: CancellationToken,
}

/// By source, in the order of their configuration.
pub type SecretNames = BTreeMap<String, Vec<String>>;

pub type Calls = dyn Fn() -> BoxFuture<'static, Result<wire::Calls, StoreError>> + Send + Sync;
pub type Reread = dyn Fn(&ParkedItem) -> Result<Vec<Envelope>, String> + Send + Sync;

/// What the handlers share.
struct Desk {
    api: Api,
    health: Arc<Health>,
    followers: ledger::Followers,
}

/// `/livez` and `/readyz` for everybody; `/metrics`, and with an [`Api`] all of `/v1`, for who passes the guard. The page,
/// which is there with the API and while it opens, is for everybody as well: it holds no data.
pub fn router(ops: Ops) -> Router {
    reply::describe();
    let health = Arc::new(ops.health);
    let mut open = Router::new()
        .route("/livez", get(health::alive).fallback(reply::method_not_allowed))
        .route("/readyz", get(health::ready).fallback(reply::method_not_allowed))
        .with_state(Arc::clone(&health));
    let store = if let Behind::Api(api) = &ops.behind { Some(api.store.clone()) } else { None };
    let scrape = Scrape { process: ops.metrics, store };
    let mut guarded = Router::new()
        .route("/metrics", get(scrape::answer).fallback(reply::method_not_allowed))
        .with_state(Arc::new(scrape));
    match ops.behind {
        Behind::Nothing => {}
        Behind::Opening => {
            open = open.merge(page::router());
            guarded = guarded.route("/v1/{*path}", any(reply::opening));
        }
        Behind::Api(api) => {
            open = open.merge(page::router());
            let desk = Arc::new(Desk { api, health, followers: ledger::Followers::default() });
            for (path, methods) in routes() {
                let methods = methods.fallback(reply::method_not_allowed).with_state(Arc::clone(&desk));
                guarded = guarded.route(path, methods);
            }
        }
    }
    guarded
        .fallback(reply::not_found)
        .layer(from_fn_with_state(Arc::new(Guard::new(ops.token)), guard::check))
        .merge(open)
        .layer(map_response(reply::with_headers))
}

/// The API. `schemas/api/openapi.json` describes each of these, and a test holds the two together.
fn routes() -> [(&'static str, MethodRouter<Arc<Desk>>); 16] {
    [
        ("/v1/openapi.json", get(reply::openapi)),
        ("/v1/status", get(status::get)),
        ("/v1/plans", get(plans::list)),
        ("/v1/plans/{key}", get(plans::get).put(plans::put).delete(plans::delete)),
        ("/v1/issuances", get(issuances::list)),
        ("/v1/issuances/{key}", get(issuances::get)),
        ("/v1/issuances/{key}/ledger", get(ledger::of_plan)),
        ("/v1/user_identities/{id}", get(issuances::of_person)),
        ("/v1/events/{id}", get(issuances::event)),
        ("/v1/ledger", get(ledger::list)),
        ("/v1/ledger/stream", get(ledger::stream)),
        ("/v1/parked", get(parked::list)),
        ("/v1/parked/{id}", get(parked::get)),
        ("/v1/parked/{id}/raw", get(parked::raw)),
        ("/v1/parked/{id}/release", post(parked::release)),
        ("/v1/parked/{id}/discard", post(parked::discard)),
    ]
}

/// The paths of the API, in OpenAPI's notation.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}
