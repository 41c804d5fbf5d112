//! The inbox: what has come in, once each, and who is at it.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;

use super::bulk::Fresh;
use super::sql::{AdvisoryLock, Tx, Value};
use super::{Claimed, Store, StoreError, append, copies, parked, secret_uses};
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
        let mut tx = self.db.begin().await?;
        let entries = insert(&mut tx, now, &batch).await?;
        let fresh = entries.iter().filter(|entry| entry.kind == Kind::EventReceived).count();
        secret_uses::count(&mut tx, &batch).await?;
        append(&mut tx, now, entries).await?;
        self.commit(tx).await?;
        // A worker that looks in vain stands in the way of the next webhooks: there is one writer.
        if batch.iter().filter_map(Envelope::event).any(|(_, event)| event.fact != Fact::Other) {
            self.arrivals.notify_one();
        }
        Ok(fresh)
    }

    /// Hands out up to `limit` due events, the longest due first and one per subject, each under a lease until `until`;
    /// fewer where the leases of all processes would be too many. Leases that have passed are free again.
    ///
    /// A later event of a subject may overtake one that waits for its retry: the final state does not depend on their
    /// order, and a revocation must not wait behind a creation that fails.
    pub async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Claimed>, StoreError> {
        let mut tx = self.db.begin().await?;
        tx.one_at_a_time(AdvisoryLock::Claim).await?;
        tx.execute(
            "UPDATE inbox SET lease = NULL, lease_until = NULL WHERE lease IS NOT NULL AND lease_until <= $1",
            [now.into()],
        )
        .await?;
        // Only a claim makes leases, and claims are one at a time: this count can be too high, and never too low.
        let out = tx.fetch_one("SELECT COUNT(*) AS leases FROM inbox WHERE lease IS NOT NULL", []).await?;
        let out = out.map_or(Ok(0), |row| row.count("leases"))?;
        let limit = limit.min(self.in_flight_max.saturating_sub(out));
        let lease = self.entropy.id(now).to_string();
        let rows = tx.fetch(CLAIM, [Value::from(now), lease.as_str().into(), until.into(), Value::from(limit)]).await?;
        let mut claimed = rows.iter().map(super::rows::claimed).collect::<Result<Vec<_>, _>>()?;
        tx.commit().await?;
        claimed.sort_unstable_by_key(|event| event.seq);
        Ok(claimed)
    }

    /// Holds on to a lease for longer. `false`: it has passed, and its holder must stop.
    pub async fn renew(&self, claimed: &Claimed, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let held = tx
            .execute(
                "UPDATE inbox SET lease_until = $1 WHERE seq = $2 AND lease = $3 AND lease_until > $4",
                [until.into(), Value::from(claimed.seq), claimed.lease.as_str().into(), now.into()],
            )
            .await?;
        tx.commit().await?;
        Ok(held == 1)
    }

    /// When the next event falls due: `None` when nothing waits.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let due = "SELECT MIN(due_at) AS due_at FROM inbox WHERE state = 'due' AND lease IS NULL";
        self.db.fetch(due, []).await?.first().map_or(Ok(None), |row| row.opt_time("due_at"))
    }
}

const CLAIM: &str = "
    UPDATE inbox SET lease = $2, lease_until = $3, attempts = attempts + 1
    WHERE seq IN (
        SELECT candidate.seq FROM inbox AS candidate
        WHERE candidate.state = 'due' AND candidate.lease IS NULL AND candidate.due_at <= $1
          AND NOT EXISTS (
              SELECT 1 FROM inbox AS busy
              WHERE busy.lease IS NOT NULL AND busy.subject = candidate.subject)
          AND NOT EXISTS (
              SELECT 1 FROM inbox AS earlier
              WHERE earlier.state = 'due' AND earlier.lease IS NULL AND earlier.due_at <= $1
                AND earlier.subject = candidate.subject AND earlier.seq < candidate.seq)
        ORDER BY candidate.due_at, candidate.seq
        LIMIT $4)
    RETURNING seq, source, event_id, event_type, received_at, fact, traceparent, attempts, lease";

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
    let fresh = insert_events(tx, now, &events).await?;
    let (new, known): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|(_, event)| fresh.contains(&event.event_id, &event.source));
    copies.extend(known);
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

/// Inserts events; says which of them were not there yet.
async fn insert_events(tx: &mut Tx, now: Timestamp, events: &[(&Envelope, &Event)]) -> Result<Fresh, StoreError> {
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
