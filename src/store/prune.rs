//! Retention: what is old and over is removed, a little at a time.

use jiff::{SignedDuration, Timestamp};

use super::sql::{AdvisoryLock, Tx, Value};
use super::{Store, StoreError};
use crate::clock;

/// How long what is over is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub ledger: SignedDuration,
    /// Events that have ended, and parked items that were settled, with their bodies. It is also how long an event is
    /// recognised when it is sent again.
    pub events: SignedDuration,
    /// Plans that were cancelled or have ended, their keys, and phones that are gone.
    pub plans: SignedDuration,
}

/// The rows that one step of pruning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    pub ledger: u64,
    pub events: u64,
    pub parked: u64,
    pub plans: u64,
    pub phones: u64,
    pub secret_uses: u64,
}

impl Pruned {
    /// By table, for whoever counts.
    #[must_use]
    pub fn by_table(self) -> [(&'static str, u64); 6] {
        [
            ("ledger", self.ledger),
            ("events", self.events),
            ("parked", self.parked),
            ("plans", self.plans),
            ("phones", self.phones),
            ("secret_uses", self.secret_uses),
        ]
    }
}

impl Store {
    /// Removes up to `batch` rows of each table, each in a transaction of its own. Again and again, it removes all that
    /// is too old; any number of processes may do it at once.
    pub async fn prune(&self, retention: &Retention, batch: u32) -> Result<Pruned, StoreError> {
        let now = self.clock.now();
        let before = |kept: SignedDuration| clock::add(now, -kept);
        let old_event = [Value::from(before(retention.events)), batch.into()];
        let old_plan = [Value::from(before(retention.plans)), batch.into()];
        Ok(Pruned {
            ledger: self.prune_ledger(before(retention.ledger), batch).await?,
            // Settled items first: they hold on to their events.
            parked: self.remove(PARKED, old_event.clone()).await?,
            events: self.remove(EVENTS, old_event).await?,
            plans: self.prune_plans(before(retention.plans), batch).await?,
            phones: self.remove(PHONES, old_plan).await?,
            secret_uses: self.remove(SECRET_USES, [before(retention.ledger).into(), batch.into()]).await?,
        })
    }

    /// The ledger loses its first lines and no others, whatever the clocks said when they were written; and never its
    /// last one. So it has no gap, and where it begins says all about what is missing.
    async fn prune_ledger(&self, before: Timestamp, batch: u32) -> Result<u64, StoreError> {
        let first = "SELECT seq, at FROM ledger WHERE seq < (SELECT seq FROM ledger_head WHERE id = 1) \
                     ORDER BY seq LIMIT $1";
        let mut last_old = None;
        for row in &self.db.fetch(first, [batch.into()]).await? {
            if row.time("at")? >= before {
                break;
            }
            last_old = Some(row.int("seq")?);
        }
        match last_old {
            Some(seq) => self.remove("DELETE FROM ledger WHERE seq <= $1", [Value::from(seq)]).await,
            None => Ok(0),
        }
    }

    async fn prune_plans(&self, before: Timestamp, batch: u32) -> Result<u64, StoreError> {
        let sql = format!("SELECT issuances.plan_key FROM issuances WHERE {OVER} LIMIT $2");
        let rows = self.db.fetch(sql, [Value::from(before), batch.into()]).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let keys = rows.iter().map(|row| row.text("plan_key")).collect::<Result<Vec<_>, _>>()?;
        let remove = self.db.write_alone(AdvisoryLock::Prune, move |tx| {
            Box::pin(async move {
                let mut removed = 0;
                for key in &keys {
                    removed += u64::from(remove_plan(tx, key, before).await?);
                }
                Ok(removed)
            })
        });
        remove.await
    }

    async fn remove<const N: usize>(&self, sql: &'static str, values: [Value; N]) -> Result<u64, StoreError> {
        self.db.write_alone(AdvisoryLock::Prune, move |tx| Box::pin(tx.execute(sql, values))).await
    }

    /// The number of the first line that the ledger still has.
    pub async fn ledger_first(&self) -> Result<i64, StoreError> {
        let rows = self.db.fetch("SELECT MIN(seq) AS seq FROM ledger", []).await?;
        Ok(rows.first().map_or(Ok(None), |row| row.opt_int("seq"))?.unwrap_or(1))
    }
}

/// A plan whose life is over for good. One that the provider revoked is kept for as long as nobody has cancelled it: a
/// customer's nightly sync would put it anew, and undo what somebody did on purpose.
const OVER: &str = "
    issuances.changed_at < $1
    AND (issuances.status = 'ended'
         OR (issuances.status = 'revoked' AND EXISTS (
                SELECT 1 FROM plans WHERE plans.plan_key = issuances.plan_key AND plans.deleted_at IS NOT NULL)))";

const PARKED: &str = "
    DELETE FROM parked WHERE id IN (
        SELECT id FROM parked WHERE settled_at < $1 AND state <> 'parked' ORDER BY settled_at LIMIT $2)";

/// An event that somebody may still ask about in the list of what is parked is kept with it.
const EVENTS: &str = "
    DELETE FROM inbox WHERE seq IN (
        SELECT inbox.seq FROM inbox
        WHERE inbox.ended_at < $1 AND inbox.state IN ('done', 'ignored', 'discarded')
          AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.inbox_seq = inbox.seq)
        ORDER BY inbox.ended_at LIMIT $2)";

const PHONES: &str = "
    DELETE FROM phones WHERE device_id IN (
        SELECT phones.device_id FROM phones
        WHERE phones.is_active = 0 AND phones.changed_at < $1
          AND NOT EXISTS (SELECT 1 FROM phone_keys WHERE phone_keys.device_id = phones.device_id)
        ORDER BY phones.changed_at LIMIT $2)";

/// A secret that was not used for as long as the ledger reaches back.
const SECRET_USES: &str = "
    DELETE FROM secret_uses WHERE (source, secret) IN (
        SELECT source, secret FROM secret_uses WHERE last_used_at < $1 ORDER BY last_used_at LIMIT $2)";

/// Removes a plan with all that hangs on it, unless it was put again in the meantime.
async fn remove_plan(tx: &mut Tx, plan_key: &str, before: Timestamp) -> Result<bool, StoreError> {
    let key = || Value::from(plan_key);
    // Locked in the order in which putting a plan locks.
    tx.execute("UPDATE plans SET put_at = put_at WHERE plan_key = $1", [key()]).await?;
    let sql = format!("DELETE FROM issuances WHERE {OVER} AND issuances.plan_key = $2");
    if tx.execute(sql, [Value::from(before), key()]).await? == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM phone_keys WHERE plan_key = $1", [key()]).await?;
    tx.execute("DELETE FROM plans WHERE plan_key = $1", [key()]).await?;
    Ok(true)
}
