//! `/metrics`: what this process has counted, and how the store stands at the moment of the scrape.
//!
//! The store's numbers are the same from every process that shares it; take their `max`, not their `sum`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use metrics::{describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::status::Standing;
use crate::store::Store;

const UP: &str = "keyferry_store_up";
const INBOX: &str = "keyferry_inbox_events";
const OLDEST: &str = "keyferry_inbox_oldest_received_timestamp_seconds";
const PARKED: &str = "keyferry_parked_items";
const ISSUANCES: &str = "keyferry_issuances";
const OVERDUE: &str = "keyferry_issuances_overdue";
const PHONE_KEYS: &str = "keyferry_phone_keys";
const LEDGER: &str = "keyferry_ledger_head";

pub(super) struct Scrape {
    pub(super) process: PrometheusHandle,
    pub(super) store: Option<Store>,
}

pub(super) async fn answer(State(scrape): State<Arc<Scrape>>) -> impl IntoResponse {
    let mut text = scrape.process.render();
    if let Some(store) = &scrape.store {
        let standing = Standing::read(store).await;
        if let Err(error) = &standing {
            tracing::warn!(%error, "the store could not be read for a scrape");
        }
        text.push_str(&rendered(standing.ok().as_ref()));
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Into a recorder of its own: these values belong to this scrape, and must not outlive it when the store is away.
fn rendered(standing: Option<&Standing>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        describe_gauge!(UP, "Whether the store answered this scrape");
        gauge!(UP).set(if standing.is_some() { 1.0 } else { 0.0 });
        if let Some(standing) = standing {
            record(standing);
        }
    });
    recorder.handle().render()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn record(standing: &Standing) {
    describe_gauge!(INBOX, "Events in the inbox that are not ended, by where they stand");
    describe_gauge!(OLDEST, "When the oldest of these was received; absent when there is none");
    describe_gauge!(PARKED, "Items that wait for a person");
    describe_gauge!(ISSUANCES, "Issuances, by status");
    describe_gauge!(OVERDUE, "Issuances with a phone that has waited too long for its key");
    describe_gauge!(PHONE_KEYS, "Phone keys, by status");
    describe_gauge!(LEDGER, "The number of the ledger's last line");
    let inbox = &standing.inbox;
    for (state, count) in [("waiting", inbox.waiting), ("retrying", inbox.retrying), ("in_flight", inbox.in_flight)] {
        gauge!(INBOX, "state" => state).set(count as f64);
    }
    if let Some(oldest) = inbox.oldest_received_at {
        gauge!(OLDEST).set(oldest.as_millisecond() as f64 / 1000.0);
    }
    gauge!(PARKED).set(standing.parked as f64);
    gauge!(OVERDUE).set(standing.overdue as f64);
    gauge!(LEDGER).set(standing.ledger_head as f64);
    for (name, counts) in [(ISSUANCES, &standing.issuances), (PHONE_KEYS, &standing.phone_keys)] {
        for (status, count) in counts {
            gauge!(name, "status" => status.clone()).set(*count as f64);
        }
    }
}
