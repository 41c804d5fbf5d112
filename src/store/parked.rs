//! What was put aside for a person: events that no repetition mends, and genuine deliveries that nobody could read.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::sql::{Row, Tx, Value};
use super::{Claimed, Store, StoreError, append, copies};
use crate::domain::{Entry, Kind};
use crate::queue::Envelope;

/// One thing put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedItem {
    pub id: i64,
    pub source: String,
    pub delivery_id: String,
    /// Set where the delivery could be read: its handling failed. Not set: nobody could read it.
    pub event: Option<ParkedEvent>,
    pub why: String,
    pub received_at: Timestamp,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    pub seq: i64,
    pub event_id: String,
    pub event_type: String,
}

/// What became of a request to release or discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// It is not, or no longer, parked.
    NotParked,
    /// Its event's id is taken by another body; nothing was changed.
    IdTaken,
}

const PARKED: &str = "
    SELECT parked.id, parked.source, parked.delivery_id, parked.inbox_seq, parked.why, parked.received_at,
           parked.headers, COALESCE(parked.body, inbox.body) AS body, inbox.event_id, inbox.event_type
    FROM parked LEFT JOIN inbox ON inbox.seq = parked.inbox_seq
    WHERE parked.state = 'parked'";

impl Store {
    /// What is parked, oldest first, after the item with the id `after`.
    pub async fn parked(&self, after: i64, limit: u32) -> Result<Vec<ParkedItem>, StoreError> {
        let sql = format!("{PARKED} AND parked.id > $1 ORDER BY parked.id LIMIT $2");
        self.db.fetch(sql, [Value::from(after), limit.into()]).await?.iter().map(item).collect()
    }

    pub async fn parked_item(&self, id: i64) -> Result<Option<ParkedItem>, StoreError> {
        let sql = format!("{PARKED} AND parked.id = $1");
        self.db.fetch(sql, [Value::from(id)]).await?.first().map(item).transpose()
    }

    /// Makes a parked event due again, with all its attempts before it.
    pub async fn release_event(&self, item: &ParkedItem, event: &ParkedEvent) -> Result<Settled, StoreError> {
        let entry = Entry::of_event(Kind::EventReleased, &item.source, &event.event_type, &event.event_id);
        let settled = self.settle(item.id, "released", Some((event.seq, "due")), vec![], entry).await?;
        self.arrivals.notify_one();
        Ok(settled)
    }

    /// Lets a delivery that can be read by now into the inbox, as if it had come in again.
    pub async fn release_delivery(&self, item: &ParkedItem, readable: Vec<Envelope>) -> Result<Settled, StoreError> {
        let entry = Entry { source: Some(item.source.clone()), ..Entry::new(Kind::EventReleased) };
        let settled = self.settle(item.id, "released", None, readable, entry).await?;
        self.arrivals.notify_one();
        Ok(settled)
    }

    /// Gives up on it for good. Its bytes stay in the store.
    pub async fn discard(&self, item: &ParkedItem) -> Result<Settled, StoreError> {
        let event = item.event.as_ref();
        let entry = match event {
            Some(event) => Entry::of_event(Kind::EventDiscarded, &item.source, &event.event_type, &event.event_id),
            None => Entry { source: Some(item.source.clone()), ..Entry::new(Kind::EventDiscarded) },
        };
        self.settle(item.id, "discarded", event.map(|event| (event.seq, "discarded")), vec![], entry).await
    }

    async fn settle(
        &self,
        id: i64,
        state: &'static str,
        event: Option<(i64, &'static str)>,
        arrivals: Vec<Envelope>,
        entry: Entry,
    ) -> Result<Settled, StoreError> {
        let now = self.clock.now();
        let is_settled = |settled: &Settled| *settled == Settled::Done;
        let settle = self.change_if(is_settled, move |tx| {
            Box::pin(async move {
                let settle = "UPDATE parked SET state = $1, settled_at = $2 WHERE id = $3 AND state = 'parked'";
                if tx.execute(settle, [state.into(), now.into(), Value::from(id)]).await? == 0 {
                    return Ok(Settled::NotParked);
                }
                if let Some((seq, inbox_state)) = event {
                    let ended_at = (inbox_state != "due").then_some(now);
                    let end = "UPDATE inbox SET state = $1, due_at = $2, attempts = 0, ended_at = $3, why = NULL \
                               WHERE seq = $4";
                    tx.execute(end, [inbox_state.into(), now.into(), ended_at.into(), Value::from(seq)]).await?;
                }
                let events: Vec<_> = arrivals.iter().filter_map(Envelope::event).collect();
                if !copies::contradictions(tx, &events).await?.is_empty() {
                    return Ok(Settled::IdTaken);
                }
                let mut entries = vec![entry];
                entries.extend(super::inbox::insert(tx, now, &arrivals).await?);
                append(tx, now, entries).await?;
                Ok::<_, StoreError>(Settled::Done)
            })
        });
        settle.await
    }
}

/// Puts the body of `envelope` aside, once for each delivery.
pub(super) async fn insert_body(
    tx: &mut Tx,
    envelope: &Envelope,
    source: &str,
    why: &str,
    headers: &BTreeMap<String, String>,
) -> Result<Option<Entry>, StoreError> {
    insert_once(tx, envelope, &envelope.delivery_id, source, why, headers).await
}

/// Puts the body of `envelope` aside, once for each `delivery_id` of `source`.
pub(super) async fn insert_once(
    tx: &mut Tx,
    envelope: &Envelope,
    delivery_id: &str,
    source: &str,
    why: &str,
    headers: &BTreeMap<String, String>,
) -> Result<Option<Entry>, StoreError> {
    let headers = serde_json::to_string(headers).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let fresh = tx
        .execute(
            "INSERT INTO parked (source, delivery_id, why, received_at, headers, body, state) \
             VALUES ($1, $2, $3, $4, $5, $6, 'parked') \
             ON CONFLICT (source, delivery_id) WHERE inbox_seq IS NULL DO NOTHING",
            [
                Value::from(source),
                delivery_id.into(),
                why.into(),
                envelope.received_at.into(),
                headers.into(),
                envelope.body.as_ref().into(),
            ],
        )
        .await?;
    let entry = Entry { source: Some(source.to_owned()), ..Entry::new(Kind::EventParked).why(why) };
    Ok((fresh == 1).then_some(entry))
}

pub(super) async fn insert_event(tx: &mut Tx, claimed: &Claimed, why: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO parked (source, delivery_id, inbox_seq, why, received_at, headers, state) \
         SELECT source, delivery_id, seq, $1, received_at, '{}', 'parked' FROM inbox WHERE seq = $2",
        [why.into(), Value::from(claimed.seq)],
    )
    .await
    .map(drop)
}

fn item(row: &Row) -> Result<ParkedItem, StoreError> {
    let event = match row.opt_int("inbox_seq")? {
        Some(seq) => Some(ParkedEvent { seq, event_id: row.text("event_id")?, event_type: row.text("event_type")? }),
        None => None,
    };
    Ok(ParkedItem {
        id: row.int("id")?,
        source: row.text("source")?,
        delivery_id: row.text("delivery_id")?,
        event,
        why: row.text("why")?,
        received_at: row.time("received_at")?,
        headers: serde_json::from_str(&row.text("headers")?).map_err(|error| StoreError::Corrupt(error.to_string()))?,
        body: row.bytes("body")?,
    })
}
