//! What sources call people: which plan has which alias, and what was told under one before any plan had it.

use jiff::Timestamp;

use super::sql::{Row, Tx, Value};
use super::{Store, StoreError};
use crate::domain::{Entry, Kind, Plan};

impl Store {
    /// The user identities that plans give this alias to. Seam names people to other systems by its own id, so that is
    /// an alias of theirs without being told.
    pub async fn people_of_alias(&self, source: &str, alias: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT plans.user_identity_id FROM plan_aliases JOIN plans USING (plan_key) \
                   WHERE plan_aliases.source = $1 AND plan_aliases.alias = $2 \
                   UNION SELECT user_identity_id FROM plans WHERE user_identity_id = $2 ORDER BY 1";
        let rows = self.db.fetch(sql, [Value::from(source), alias.into()]).await?;
        rows.iter().map(|row| row.text("user_identity_id")).collect()
    }
}

/// Makes the plan's aliases those that its spec has.
pub(super) async fn set(tx: &mut Tx, plan: &Plan) -> Result<(), StoreError> {
    tx.execute("DELETE FROM plan_aliases WHERE plan_key = $1", [Value::from(plan.key.as_str())]).await?;
    for (source, alias) in &plan.spec.aliases {
        let values = [Value::from(source.as_str()), alias.as_str().into(), plan.key.as_str().into()];
        tx.execute("INSERT INTO plan_aliases (source, alias, plan_key) VALUES ($1, $2, $3)", values).await?;
    }
    Ok(())
}

/// Makes the ignored events of these subjects due; returns the ledger's lines.
///
/// A handler that is at one of them may have looked before the plan was there: its lease is taken away, so that it can
/// end nothing, and the event is handled once more. First the leases, then what is ignored: whichever of the two such a
/// handler has reached, it is found.
pub(super) async fn handle_again(tx: &mut Tx, now: Timestamp, subjects: &[String]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for subject in subjects {
        tx.execute(
            "UPDATE inbox SET lease = NULL, lease_until = NULL WHERE subject = $1 AND lease IS NOT NULL",
            [Value::from(subject.as_str())],
        )
        .await?;
        let released = tx
            .fetch(
                "UPDATE inbox SET state = 'due', due_at = $1, attempts = 0, ended_at = NULL, why = NULL \
                 WHERE subject = $2 AND state = 'ignored' RETURNING source, event_type, event_id",
                [now.into(), Value::from(subject.as_str())],
            )
            .await?;
        let entry = |row: &Row| {
            let (source, event_type, event_id) = (row.text("source")?, row.text("event_type")?, row.text("event_id")?);
            Ok(Entry::of_event(Kind::EventReleased, &source, &event_type, &event_id).why("a plan has this alias now"))
        };
        entries.extend(released.iter().map(entry).collect::<Result<Vec<_>, StoreError>>()?);
    }
    Ok(entries)
}
