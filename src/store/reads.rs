//! Reading: what people are shown, and what workers look up now and then.

use jiff::Timestamp;

use super::rows::{self, PLAN_AND_ISSUANCE, plan_and_issuance};
use super::sql::{Row, Value};
use super::{Store, StoreError};
use crate::domain::{Issuance, Phone, PhoneKey, Plan, Status};
use crate::queue::PULLED;

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    pub seq: i64,
    pub at: Timestamp,
    pub kind: String,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub plan_key: Option<String>,
    pub user_identity_id: Option<String>,
    pub device_id: Option<String>,
    pub acs_credential_id: Option<String>,
    pub why: Option<String>,
}

/// An event as the inbox has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// The delivery that brought it.
    pub delivery_id: String,
    pub source: String,
    pub event_id: String,
    pub event_type: String,
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    /// `due`, `done`, `ignored`, `parked` or `discarded`.
    pub state: String,
    pub attempts: u32,
    pub due_at: Timestamp,
    pub why: Option<String>,
    pub ended_at: Option<Timestamp>,
}

impl EventRecord {
    /// No delivery brought it; it was read from the provider's list.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        self.delivery_id.starts_with(PULLED)
    }
}

/// What waits in the inbox, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxCounts {
    /// Due, and not tried yet.
    pub waiting: i64,
    /// Tried before, and waiting for the next attempt.
    pub retrying: i64,
    /// In a worker's hands.
    pub in_flight: i64,
    /// When the oldest of all these was received.
    pub oldest_received_at: Option<Timestamp>,
    /// The reasons of those that are retried, most frequent first, with how many have each.
    pub reasons: Vec<(String, i64)>,
}

/// Which issuances to list: in the order of their keys, after `after`.
#[derive(Debug, Clone, Default)]
pub struct IssuanceFilter {
    pub status: Option<Status>,
    pub user_identity_id: Option<String>,
    pub after: Option<String>,
}

impl Store {
    pub async fn plan(&self, key: &str) -> Result<Option<(Plan, Issuance)>, StoreError> {
        let sql = format!("SELECT {PLAN_AND_ISSUANCE} WHERE plans.plan_key = $1");
        self.db.fetch(sql, [Value::from(key)]).await?.first().map(plan_and_issuance).transpose()
    }

    /// Those of `acs_credential_ids` that a plan other than `plan_key` has.
    pub async fn credentials_of_other_plans(
        &self,
        plan_key: &str,
        acs_credential_ids: &[String],
    ) -> Result<Vec<String>, StoreError> {
        let mut owned = Vec::new();
        for id in acs_credential_ids {
            let sql = "SELECT acs_credential_id FROM issuances WHERE acs_credential_id = $1 AND plan_key <> $2";
            let rows = self.db.fetch(sql, [Value::from(id.as_str()), plan_key.into()]).await?;
            owned.extend(rows.iter().map(|row| row.text("acs_credential_id")).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(owned)
    }

    pub async fn issuances(&self, filter: &IssuanceFilter, limit: u32) -> Result<Vec<(Plan, Issuance)>, StoreError> {
        let mut values = vec![Value::from(filter.after.as_deref().unwrap_or_default())];
        let mut conditions = vec!["issuances.plan_key > $1".to_owned()];
        if let Some(status) = filter.status {
            // A word of the statement: without it, its plan could not be by the index on the status.
            conditions.push(format!("issuances.status = '{}'", status.as_str()));
        }
        if let Some(id) = &filter.user_identity_id {
            values.push(id.as_str().into());
            conditions.push(format!("issuances.user_identity_id = ${}", values.len()));
        }
        values.push(limit.into());
        let (conditions, last) = (conditions.join(" AND "), values.len());
        let sql = format!("SELECT {PLAN_AND_ISSUANCE} WHERE {conditions} ORDER BY issuances.plan_key LIMIT ${last}");
        self.db.fetch(sql, values).await?.iter().map(plan_and_issuance).collect()
    }

    pub async fn phone(&self, device_id: &str) -> Result<Option<Phone>, StoreError> {
        let sql = "SELECT device_id, user_identity_id, device_type, is_active FROM phones WHERE device_id = $1";
        self.db.fetch(sql, [Value::from(device_id)]).await?.first().map(rows::phone).transpose()
    }

    /// The keys of several plans, in the order of plan and phone.
    pub async fn phone_keys_of_plans(&self, plan_keys: &[&str]) -> Result<Vec<PhoneKey>, StoreError> {
        if plan_keys.is_empty() {
            return Ok(vec![]);
        }
        let sql = format!(
            "SELECT plan_key, device_id, status, acs_credential_id, issued_at FROM phone_keys \
             WHERE plan_key {} ORDER BY plan_key, device_id",
            self.db.among(1)
        );
        let keys: Value = plan_keys.iter().map(|key| (*key).to_owned()).collect();
        self.db.fetch(sql, [keys]).await?.iter().map(rows::phone_key).collect()
    }

    /// The number of the ledger's last line; 0 before the first.
    pub async fn ledger_head(&self) -> Result<i64, StoreError> {
        let rows = self.db.fetch("SELECT seq FROM ledger_head WHERE id = 1", []).await?;
        rows.first().map_or(Ok(0), |row| row.int("seq"))
    }

    /// Up to `limit` lines after number `after`, in order and without gaps.
    pub async fn ledger(&self, after: i64, limit: u32) -> Result<Vec<LedgerLine>, StoreError> {
        let sql = "SELECT * FROM ledger WHERE seq > $1 ORDER BY seq LIMIT $2";
        self.db.fetch(sql, [Value::from(after), limit.into()]).await?.iter().map(line).collect()
    }

    /// The last `limit` lines about one plan, in order.
    pub async fn ledger_of_plan(&self, plan_key: &str, limit: u32) -> Result<Vec<LedgerLine>, StoreError> {
        let sql = "SELECT * FROM ledger WHERE plan_key = $1 ORDER BY seq DESC LIMIT $2";
        let rows = self.db.fetch(sql, [Value::from(plan_key), limit.into()]).await?;
        rows.iter().rev().map(line).collect()
    }

    /// All events with this id: one for each source that has sent one.
    pub async fn events(&self, event_id: &str) -> Result<Vec<EventRecord>, StoreError> {
        let sql = "SELECT delivery_id, source, event_id, event_type, occurred_at, received_at, state, attempts, \
                   due_at, why, ended_at FROM inbox WHERE event_id = $1 ORDER BY source";
        self.db.fetch(sql, [Value::from(event_id)]).await?.iter().map(event).collect()
    }

    pub async fn inbox_counts(&self) -> Result<InboxCounts, StoreError> {
        let counts = format!(
            "SELECT COUNT(CASE WHEN lease IS NULL AND attempts = 0 THEN 1 END) AS waiting, \
                    COUNT(CASE WHEN lease IS NULL AND attempts > 0 THEN 1 END) AS retrying, \
                    COUNT(lease) AS in_flight, MIN(received_at) AS oldest_received_at \
             FROM {OPEN}"
        );
        let reasons = format!(
            "SELECT why, COUNT(*) AS times FROM {OPEN} WHERE why IS NOT NULL \
             GROUP BY why ORDER BY times DESC, why LIMIT 10"
        );
        let read = self.db.read(move |tx| {
            Box::pin(async move { Ok((tx.fetch_one(counts, []).await?, tx.fetch(reasons, []).await?)) })
        });
        let (counts, reasons) = read.await?;
        let counts = counts.ok_or_else(|| StoreError::Corrupt("a count without a row".to_owned()))?;
        Ok(InboxCounts {
            waiting: counts.int("waiting")?,
            retrying: counts.int("retrying")?,
            in_flight: counts.int("in_flight")?,
            oldest_received_at: counts.opt_time("oldest_received_at")?,
            reasons: reasons
                .iter()
                .map(|row| Ok((row.text("why")?, row.int("times")?)))
                .collect::<Result<_, StoreError>>()?,
        })
    }

    /// How many items are parked.
    pub async fn parked_count(&self) -> Result<i64, StoreError> {
        let rows = self.db.fetch("SELECT COUNT(*) AS times FROM parked WHERE state = 'parked'", []).await?;
        rows.first().map_or(Ok(0), |row| row.int("times"))
    }
}

/// What has not ended: two conditions with an index each, since most of the inbox has.
const OPEN: &str = "(
    SELECT lease, attempts, received_at, why FROM inbox WHERE state = 'due' AND lease IS NULL
    UNION ALL
    SELECT lease, attempts, received_at, why FROM inbox WHERE lease IS NOT NULL) AS open";

fn line(row: &Row) -> Result<LedgerLine, StoreError> {
    Ok(LedgerLine {
        seq: row.int("seq")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        source: row.opt_text("source")?,
        event_type: row.opt_text("event_type")?,
        event_id: row.opt_text("event_id")?,
        plan_key: row.opt_text("plan_key")?,
        user_identity_id: row.opt_text("user_identity_id")?,
        device_id: row.opt_text("device_id")?,
        acs_credential_id: row.opt_text("acs_credential_id")?,
        why: row.opt_text("why")?,
    })
}

fn event(row: &Row) -> Result<EventRecord, StoreError> {
    Ok(EventRecord {
        delivery_id: row.text("delivery_id")?,
        source: row.text("source")?,
        event_id: row.text("event_id")?,
        event_type: row.text("event_type")?,
        occurred_at: row.time("occurred_at")?,
        received_at: row.time("received_at")?,
        state: row.text("state")?,
        attempts: row.count("attempts")?,
        due_at: row.time("due_at")?,
        why: row.opt_text("why")?,
        ended_at: row.opt_time("ended_at")?,
    })
}
