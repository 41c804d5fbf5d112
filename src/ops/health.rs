//! Is the process alive, and is it ready for work?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::future::{BoxFuture, join_all};
use http::StatusCode;
use jiff::SignedDuration;
use serde::Serialize;

use super::wire::Checked;
use crate::clock::Clock;

/// A probe that takes longer has failed: a load balancer does not wait longer either.
const PROBE_TIMEOUT: SignedDuration = SignedDuration::from_secs(2);

/// Something that can be asked whether it works.
#[derive(Clone)]
pub struct Check {
    name: &'static str,
    is_vital: bool,
    probe: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

impl Check {
    /// A check without which the process is not ready. The probe's error is shown to operators.
    pub fn vital<F>(name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { name, is_vital: true, probe: Arc::new(move || Box::pin(probe())) }
    }

    /// A check that `status` shows and readiness does not depend on: when the provider is away, work waits, and taking
    /// the process out of service would mend nothing.
    pub fn informative<F>(name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { is_vital: false, ..Self::vital(name, probe) }
    }
}

/// All checks of a process.
pub struct Health {
    checks: Vec<Check>,
    clock: Arc<dyn Clock>,
}

impl Health {
    #[must_use]
    pub fn new(checks: Vec<Check>, clock: Arc<dyn Clock>) -> Self {
        Self { checks, clock }
    }

    /// Runs all checks, at once and each within its time. In the order in which they were given.
    pub(super) async fn check(&self, which: impl Fn(&Check) -> bool) -> Vec<Checked> {
        join_all(self.checks.iter().filter(|check| which(check)).map(|check| self.probe(check))).await
    }

    async fn probe(&self, check: &Check) -> Checked {
        let result = tokio::select! {
            biased;
            result = (check.probe)() => result,
            () = self.clock.sleep(PROBE_TIMEOUT) => Err(format!("no answer within {PROBE_TIMEOUT:#}")),
        };
        Checked { name: check.name.to_owned(), ok: result.is_ok(), vital: check.is_vital, why: result.err() }
    }
}

/// What everybody may know: whether, and what is in the way, but not why. `/v1/status` says why.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    not_ready: Vec<String>,
}

pub(super) async fn alive() -> StatusCode {
    StatusCode::OK
}

pub(super) async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let vital = health.check(|check| check.is_vital).await;
    let not_ready: Vec<String> = vital.into_iter().filter(|check| !check.ok).map(|check| check.name).collect();
    let ready = not_ready.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, not_ready }))
}
