//! What is due for a look: the sweep puts it into the inbox, where the worker takes it up under its lease.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::sql::{AdvisoryLock, Row, Tx, Value};
use super::{OWN_SOURCE, Store, StoreError, inbox};
use crate::clock;
use crate::domain::{Event, Fact};
use crate::queue::{Content, Envelope};

/// When an issuance is looked at next, as seen from `version` of it: whoever has written a later one has said it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextLook {
    pub plan_key: String,
    pub version: i64,
    pub at: Option<Timestamp>,
}

/// How soon a plan that was put or cancelled is looked at, should the event about it come to nothing.
const BACKSTOP: SignedDuration = SignedDuration::from_mins(30);

/// The type of the event, as the index on untried looks has it too.
const EVENT_TYPE: &str = "issuance.due";

impl Store {
    /// Moves the issuances whose time has come into the inbox, the longest due first, as long as no more than
    /// `waiting_max` looks wait there that nobody has begun with. Returns how many were moved.
    ///
    /// An issuance has at most one look in the inbox. What was moved is due again `again` later, whatever becomes of
    /// the look; the look itself says it better once it has been had.
    pub async fn move_due(&self, waiting_max: u32, again: SignedDuration) -> Result<usize, StoreError> {
        let now = self.clock.now();
        // Nothing is due most of the time, and then nobody is kept from writing.
        if self.db.fetch(format!("{DUE} LIMIT 1"), [Value::from(now)]).await?.is_empty() {
            return Ok(0);
        }
        let again_at = clock::add(now, again);
        let moving = self.db.write_alone(AdvisoryLock::Sweep, move |tx| {
            Box::pin(async move {
                let waiting = tx.fetch_one(WAITING, []).await?.map_or(Ok(0), |row| row.int("times"))?;
                let room = i64::from(waiting_max).saturating_sub(waiting).max(0);
                let due = format!("{DUE} ORDER BY look_at LIMIT $2");
                let rows = tx.fetch(due, [Value::from(now), room.into()]).await?;
                let looks = rows.iter().map(|row| look(row, now)).collect::<Result<Vec<_>, _>>()?;
                inbox::insert(tx, now, &looks).await?;
                for row in &rows {
                    let put_off = "UPDATE issuances SET look_at = $1 WHERE plan_key = $2";
                    tx.execute(put_off, [again_at.into(), Value::from(row.text("plan_key")?)]).await?;
                }
                Ok(rows.len())
            })
        });
        let moved = moving.await?;
        if moved > 0 {
            self.arrivals.notify_one();
        }
        Ok(moved)
    }

    /// When the next issuance falls due for a look: `None` when none ever will.
    pub async fn next_look(&self) -> Result<Option<Timestamp>, StoreError> {
        let next = "SELECT MIN(look_at) AS look_at FROM issuances WHERE look_at IS NOT NULL";
        self.db.fetch(next, []).await?.first().map_or(Ok(None), |row| row.opt_time("look_at"))
    }

    /// Since when a phone of the plan's person has waited for its key: a key that is not on its phone yet, or a phone
    /// without one.
    pub async fn waiting_since(&self, plan_key: &str) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.db.fetch(WAITING_SINCE, [Value::from(plan_key)]).await?;
        rows.first().map_or(Ok(None), |row| row.opt_time("since"))
    }

    /// How many issuances are overdue.
    pub async fn overdue_count(&self) -> Result<i64, StoreError> {
        let rows = self.db.fetch("SELECT COUNT(*) AS times FROM issuances WHERE overdue = 1", []).await?;
        rows.first().map_or(Ok(0), |row| row.int("times"))
    }
}

/// The unique key of events keeps a second look out; this keeps the row due until the first one has ended.
const DUE: &str = "
    SELECT plan_key, user_identity_id, look_at FROM issuances
    WHERE look_at <= $1
      AND NOT EXISTS (SELECT 1 FROM inbox
                      WHERE inbox.event_id = 'look:' || issuances.plan_key AND inbox.source = 'keyferry')";

const WAITING: &str = "SELECT COUNT(*) AS times FROM inbox WHERE event_type = 'issuance.due' AND attempts = 0";

const WAITING_SINCE: &str = "
    SELECT MIN(changed_at) AS since FROM (
        SELECT changed_at FROM phone_keys WHERE plan_key = $1 AND status = 'waiting'
        UNION ALL
        SELECT phones.changed_at FROM phones
        JOIN issuances ON issuances.user_identity_id = phones.user_identity_id
        WHERE issuances.plan_key = $1 AND phones.is_active = 1
          AND NOT EXISTS (SELECT 1 FROM phone_keys
                          WHERE phone_keys.plan_key = $1 AND phone_keys.device_id = phones.device_id)) AS waiting";

fn look(row: &Row, now: Timestamp) -> Result<Envelope, StoreError> {
    let (plan_key, user_identity_id) = (row.text("plan_key")?, row.text("user_identity_id")?);
    let event_id = format!("look:{plan_key}");
    let body = json!({"event_id": event_id, "event_type": EVENT_TYPE, "plan_key": plan_key}).to_string();
    let event = Event {
        source: OWN_SOURCE.to_owned(),
        event_id: event_id.clone(),
        event_type: EVENT_TYPE.to_owned(),
        occurred_at: row.time("look_at")?,
        fact: Fact::IssuanceDue { plan_key, user_identity_id },
    };
    let content = Content::Event(event);
    Ok(Envelope { delivery_id: event_id, received_at: now, traceparent: None, proof: None, body: body.into(), content })
}

/// Sees to it that a plan that was put or cancelled at `now` is looked at before long.
pub(super) async fn look_before_long(
    tx: &mut Tx,
    now: Timestamp,
    plan_key: &str,
    ends_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let backstop = clock::add(now, BACKSTOP);
    let at = ends_at.map_or(backstop, |end| end.min(backstop));
    tx.execute(
        "UPDATE issuances SET look_at = CASE WHEN look_at < $1 THEN look_at ELSE $1 END \
         WHERE plan_key = $2 AND status NOT IN ('revoked', 'ended')",
        [at.into(), Value::from(plan_key)],
    )
    .await
    .map(drop)
}

pub(super) async fn write_next_look(tx: &mut Tx, next: &NextLook) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE issuances SET look_at = $1 WHERE plan_key = $2 AND version = $3",
        [next.at.into(), Value::from(next.plan_key.as_str()), next.version.into()],
    )
    .await
    .map(drop)
}
