//! The state at a glance: what waits and why, what stands where, what works.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::reply::Answer;
use super::wire::{self, Time};
use super::{Desk, sources};
use crate::domain::{KeyStatus, SecretUse, Status};
use crate::store::{InboxCounts, Store, StoreError};

/// The store's numbers.
pub(super) struct Standing {
    pub(super) inbox: InboxCounts,
    pub(super) parked: i64,
    /// Every status is there, most with 0.
    pub(super) issuances: BTreeMap<String, i64>,
    pub(super) overdue: i64,
    pub(super) phone_keys: BTreeMap<String, i64>,
    pub(super) secret_uses: Vec<SecretUse>,
    pub(super) ledger_head: i64,
}

impl Standing {
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        let (issuances, phone_keys) = store.status_counts().await?;
        let key_statuses = [KeyStatus::Waiting, KeyStatus::Issued, KeyStatus::Revoked];
        Ok(Self {
            inbox: store.inbox_counts().await?,
            parked: store.parked_count().await?,
            overdue: store.overdue_count().await?,
            issuances: complete(Status::ALL.map(Status::as_str), issuances),
            phone_keys: complete(key_statuses.map(KeyStatus::as_str), phone_keys),
            secret_uses: store.secret_uses().await?,
            ledger_head: store.ledger_head().await?,
        })
    }
}

fn complete<const N: usize>(words: [&str; N], counted: Vec<(String, i64)>) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<_, _> = words.into_iter().map(|word| (word.to_owned(), 0)).collect();
    counts.extend(counted);
    counts
}

pub(super) async fn get(State(desk): State<Arc<Desk>>) -> Answer<Json<wire::Status>> {
    let checks = desk.health.check(|_| true).await;
    let standing = Standing::read(&desk.api.store).await?;
    let calls = (desk.api.calls)().await?;
    let now = desk.api.clock.now();
    let configured = desk.api.secrets.as_ref().map(|names| names());
    let oldest = standing.inbox.oldest_received_at;
    Ok(Json(wire::Status {
        at: Time(now),
        ready: checks.iter().all(|check| check.ok || !check.vital),
        checks,
        inbox: wire::Inbox {
            waiting: standing.inbox.waiting,
            retrying: standing.inbox.retrying,
            in_flight: standing.inbox.in_flight,
            oldest_received_at: oldest.map(Time),
            // Never negative, whatever the clocks of receiver and worker say.
            oldest_age_seconds: oldest.map(|oldest| now.duration_since(oldest).as_secs().max(0)),
            reasons: standing.inbox.reasons.into_iter().map(|(why, count)| wire::Reason { why, count }).collect(),
        },
        calls,
        parked: standing.parked,
        issuances: standing.issuances,
        overdue: standing.overdue,
        phone_keys: standing.phone_keys,
        sources: sources::told(&standing.secret_uses, configured.as_ref(), now),
        ledger_head: standing.ledger_head,
    }))
}
