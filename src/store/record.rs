//! Recording what a worker did: all of it or nothing, and only under a lease that still holds.

use jiff::Timestamp;

use super::endings::{self, Ending};
use super::sql::{Tx, Value};
use super::{Change, Claimed, RecordError, Store, StoreError, aliases, append, due};
use crate::domain::{Issuance, Phone, PhoneKey};

impl Store {
    /// A change that is nothing but an outcome shares its transaction with others that are recorded at the same time.
    pub async fn record(&self, claimed: &Claimed, now: Timestamp, change: Change) -> Result<(), RecordError> {
        let frees_others = frees_others(claimed, &change);
        match &change {
            Change { outcome: Some(outcome), .. } if change.is_only_an_outcome() => {
                self.end(claimed, now, outcome).await?;
            }
            _ => {
                let claimed = claimed.clone();
                self.change(move |tx| Box::pin(write(tx, claimed, now, change))).await?;
            }
        }
        if frees_others {
            self.arrivals.notify_one();
        }
        Ok(())
    }
}

/// Whether events stand in the line afterwards that did not before, or that were to end with this one.
fn frees_others(claimed: &Claimed, change: &Change) -> bool {
    let leaves_twins = !claimed.twins.is_empty() && change.outcome.as_ref().is_some_and(|it| !it.has_ended_well());
    leaves_twins || !change.again.is_empty()
}

async fn write(tx: &mut Tx, claimed: Claimed, now: Timestamp, change: Change) -> Result<(), RecordError> {
    hold(tx, &claimed, now).await?;
    for issuance in &change.issuances {
        write_issuance(tx, now, issuance).await?;
    }
    for phone in &change.phones {
        write_phone(tx, now, phone, change.phones_seen_at).await?;
    }
    for key in &change.phone_keys {
        write_phone_key(tx, now, key).await?;
    }
    for next in &change.looks {
        due::write_next_look(tx, next).await?;
    }
    let mut entries = aliases::handle_again(tx, now, &change.again).await?;
    entries.extend(change.ledger);
    if let Some(outcome) = change.outcome {
        entries.extend(endings::write(tx, now, &[Ending { claimed, now, outcome }]).await?.entries);
    }
    append(tx, now, entries).await?;
    Ok(())
}

impl Change {
    fn is_only_an_outcome(&self) -> bool {
        let Self { issuances, phones, phones_seen_at: _, phone_keys, again, looks, ledger, outcome: _ } = self;
        issuances.is_empty()
            && phones.is_empty()
            && phone_keys.is_empty()
            && again.is_empty()
            && looks.is_empty()
            && ledger.is_empty()
    }
}

/// The fence: locks the event's row if the lease still holds, so that nobody can take it over before our commit.
async fn hold(tx: &mut Tx, claimed: &Claimed, now: Timestamp) -> Result<(), RecordError> {
    let held = tx
        .execute(
            "UPDATE inbox SET attempts = attempts WHERE seq = $1 AND lease = $2 AND lease_until > $3",
            [Value::from(claimed.seq), claimed.lease.as_str().into(), now.into()],
        )
        .await?;
    if held == 1 { Ok(()) } else { Err(RecordError::LeaseLost(claimed.seq)) }
}

async fn write_issuance(tx: &mut Tx, now: Timestamp, issuance: &Issuance) -> Result<(), RecordError> {
    let written = tx
        .execute(
            "UPDATE issuances SET status = $1, acs_credential_id = $2, acs_user_id = $3, \
                 enrollment_automation_id = $4, attempts = $5, overdue = $6, error = $7, intent_at = $8, \
                 intent_settles_at = $9, look_at = $10, version = version + 1, changed_at = $11 \
             WHERE plan_key = $12 AND version = $13",
            [
                issuance.status.as_str().into(),
                (&issuance.acs_credential_id).into(),
                (&issuance.acs_user_id).into(),
                (&issuance.enrollment_automation_id).into(),
                issuance.attempts.into(),
                issuance.overdue.into(),
                (&issuance.error).into(),
                issuance.intent.map(|intent| intent.at).into(),
                issuance.intent.map(|intent| intent.settles_at).into(),
                issuance.look_at.into(),
                now.into(),
                issuance.plan_key.as_str().into(),
                Value::from(issuance.version),
            ],
        )
        .await?;
    if written == 1 {
        Ok(())
    } else {
        Err(RecordError::Conflict(format!("the issuance of plan {}", issuance.plan_key)))
    }
}

async fn write_phone(
    tx: &mut Tx,
    now: Timestamp,
    phone: &Phone,
    seen_at: Option<Timestamp>,
) -> Result<(), RecordError> {
    let written = tx
        .execute(
            "INSERT INTO phones (device_id, user_identity_id, device_type, is_active, changed_at) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (device_id) DO UPDATE SET \
             user_identity_id = COALESCE(NULLIF(excluded.user_identity_id, ''), phones.user_identity_id), \
             device_type = COALESCE(excluded.device_type, phones.device_type), is_active = excluded.is_active, changed_at = excluded.changed_at \
         WHERE excluded.is_active = 0 OR phones.changed_at <= $6 OR ($6 IS NULL AND phones.is_active = 1)",
            [
                Value::from(phone.device_id.as_str()),
                phone.user_identity_id.as_str().into(),
                (&phone.device_type).into(),
                phone.is_active.into(),
                now.into(),
                seen_at.into(),
            ],
        )
        .await?;
    if written == 1 { Ok(()) } else { Err(RecordError::Conflict(format!("the phone {}", phone.device_id))) }
}

async fn write_phone_key(tx: &mut Tx, now: Timestamp, key: &PhoneKey) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO phone_keys (plan_key, device_id, status, acs_credential_id, issued_at, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (plan_key, device_id) DO UPDATE SET status = excluded.status, \
             acs_credential_id = excluded.acs_credential_id, issued_at = excluded.issued_at, \
             changed_at = excluded.changed_at",
        [
            Value::from(key.plan_key.as_str()),
            key.device_id.as_str().into(),
            key.status.as_str().into(),
            (&key.acs_credential_id).into(),
            key.issued_at.into(),
            now.into(),
        ],
    )
    .await
    .map(drop)
}
