//! How much each secret of each source has been used.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::sql::{Row, Tx, Value};
use super::{Store, StoreError};
use crate::domain::SecretUse;
use crate::queue::{Content, Envelope};

impl Store {
    /// Every secret that was ever used, but for those that retention has forgotten; of each source the oldest first.
    pub async fn secret_uses(&self) -> Result<Vec<SecretUse>, StoreError> {
        let all = "SELECT source, secret, events, first_used_at, last_used_at, skew_ms FROM secret_uses \
                   ORDER BY source, first_used_at, secret";
        self.db.fetch(all, []).await?.iter().map(secret_use).collect()
    }
}

fn secret_use(row: &Row) -> Result<SecretUse, StoreError> {
    Ok(SecretUse {
        source: row.text("source")?,
        secret: row.text("secret")?,
        events: row.int("events")?,
        first_used_at: row.time("first_used_at")?,
        last_used_at: row.time("last_used_at")?,
        skew: row.opt_int("skew_ms")?.map(SignedDuration::from_millis),
    })
}

/// What a batch adds to one secret.
struct Added {
    events: i64,
    first_used_at: Timestamp,
    last_used_at: Timestamp,
    skew: Option<SignedDuration>,
}

/// Counts what proved a batch: a row for each secret, whatever the batch's length.
///
/// The rows are those that every intake writes, so this comes shortly before the commit, and in the order of their keys.
pub(super) async fn count(tx: &mut Tx, batch: &[Envelope]) -> Result<(), StoreError> {
    const UPSERT: &str = "
        INSERT INTO secret_uses (source, secret, events, first_used_at, last_used_at, skew_ms)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (source, secret) DO UPDATE SET
            events = secret_uses.events + excluded.events,
            first_used_at = CASE WHEN excluded.first_used_at < secret_uses.first_used_at
                THEN excluded.first_used_at ELSE secret_uses.first_used_at END,
            last_used_at = CASE WHEN excluded.last_used_at > secret_uses.last_used_at
                THEN excluded.last_used_at ELSE secret_uses.last_used_at END,
            skew_ms = CASE WHEN excluded.last_used_at >= secret_uses.last_used_at
                THEN excluded.skew_ms ELSE secret_uses.skew_ms END";
    for ((source, secret), added) in added(batch) {
        let values = [
            Value::from(source),
            secret.into(),
            added.events.into(),
            added.first_used_at.into(),
            added.last_used_at.into(),
            added.skew.map(|skew| i64::try_from(skew.as_millis()).unwrap_or(i64::MAX)).into(),
        ];
        tx.execute(UPSERT, values).await?;
    }
    Ok(())
}

fn added(batch: &[Envelope]) -> BTreeMap<(&str, &str), Added> {
    let mut all: BTreeMap<(&str, &str), Added> = BTreeMap::new();
    for envelope in batch {
        let Some(proof) = &envelope.proof else { continue };
        let source = match &envelope.content {
            Content::Event(event) => &event.source,
            Content::Unreadable { source, .. } => source,
        };
        let at = envelope.received_at;
        let skew = proof.sent_at.map(|sent_at| at.duration_since(sent_at));
        let none = Added { events: 0, first_used_at: at, last_used_at: at, skew };
        let added = all.entry((source, &proof.secret)).or_insert(none);
        added.events += 1;
        added.first_used_at = added.first_used_at.min(at);
        if at >= added.last_used_at {
            (added.last_used_at, added.skew) = (at, skew);
        }
    }
    all
}
