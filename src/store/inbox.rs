//! The inbox: what has come in, once each.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;

use super::sql::{Tx, Value};
use super::{Store, StoreError, append, copies, parked, secret_uses};
use crate::domain::{Entry, Event, Fact, Kind};
use crate::queue::{Content, Envelope, Inbox, InboxError};

#[async_trait]
impl Inbox for Store {
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
        self.take_in(batch).await.map(drop).map_err(|error| InboxError(error.to_string()))
    }
}

impl Store {
    /// Takes a batch in as one transaction. Returns how many of its events were not there yet.
    pub async fn take_in(&self, batch: Vec<Envelope>) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let asks_for_work = batch.iter().filter_map(Envelope::event).any(|(_, event)| event.fact != Fact::Other);
        let taken_in = self.change(move |tx| {
            Box::pin(async move {
                let entries = insert(tx, now, &batch).await?;
                let fresh = entries.iter().filter(|entry| entry.kind == Kind::EventReceived).count();
                secret_uses::count(tx, &batch).await?;
                append(tx, now, entries).await?;
                Ok::<_, StoreError>(fresh)
            })
        });
        let fresh = taken_in.await?;
        // A worker that looks in vain stands in the way of the next webhooks: there is one writer.
        if asks_for_work {
            self.arrivals.notify_one();
        }
        Ok(fresh)
    }
}

/// Puts what is new into the inbox and what is unreadable aside; returns the ledger's lines.
pub(super) async fn insert(tx: &mut Tx, now: Timestamp, batch: &[Envelope]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let mut events: Vec<(&Envelope, &Event)> = Vec::new();
    let mut copies = Vec::new();
    let mut seen = HashSet::new();
    for envelope in batch {
        match &envelope.content {
            Content::Event(event) if seen.insert((event.event_id.as_str(), event.source.as_str())) => {
                events.push((envelope, event));
            }
            Content::Event(event) => copies.push((envelope, event)),
            Content::Unreadable { source, why, headers } => {
                entries.extend(parked::insert_body(tx, envelope, source, why, headers).await?);
            }
        }
    }
    // In the order of their keys, so that two intakes with the same events cannot wait for each other in a circle.
    events.sort_by_key(|(_, event)| (&event.event_id, &event.source));
    let mut new = Vec::with_capacity(events.len());
    for (is_new, event) in insert_events(tx, now, &events).await?.into_iter().zip(events) {
        if is_new { &mut new } else { &mut copies }.push(event);
    }
    for (_, event) in new.iter().filter(|(_, event)| !event.fact.is_look()) {
        entries.push(line(Kind::EventReceived, event));
        if event.fact == Fact::Other {
            entries.push(line(Kind::EventIgnored, event).why("this type of event asks nothing of us"));
        }
    }
    entries.extend(copies::park_contradictions(tx, &copies).await?);
    Ok(entries)
}

fn line(kind: Kind, event: &Event) -> Entry {
    Entry::of_event(kind, &event.source, &event.event_type, &event.event_id)
}

/// Inserts events; says of each whether it was not there yet.
async fn insert_events(tx: &mut Tx, now: Timestamp, events: &[(&Envelope, &Event)]) -> Result<Vec<bool>, StoreError> {
    let mut rows = Vec::with_capacity(events.len());
    for (envelope, event) in events {
        let is_other = event.fact == Fact::Other;
        let fact = serde_json::to_string(&event.fact).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        rows.push([
            Value::from(event.source.as_str()),
            event.event_id.as_str().into(),
            event.event_type.as_str().into(),
            event.occurred_at.into(),
            envelope.received_at.into(),
            envelope.delivery_id.as_str().into(),
            (&envelope.traceparent).into(),
            fact.into(),
            event.fact.subject().into(),
            envelope.body.as_ref().into(),
            if is_other { "ignored" } else { "due" }.into(),
            now.into(),
            is_other.then_some(now).into(),
        ]);
    }
    tx.insert_new("inbox", COLUMNS, rows, ["event_id", "source"]).await
}

const COLUMNS: [&str; 13] = [
    "source",
    "event_id",
    "event_type",
    "occurred_at",
    "received_at",
    "delivery_id",
    "traceparent",
    "fact",
    "subject",
    "body",
    "state",
    "due_at",
    "ended_at",
];
