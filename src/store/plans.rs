//! Plans come from outside; what follows from one is a worker's business. So putting or deleting a plan changes the plan
//! and puts an event into the inbox, in one transaction, and touches no credential.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::rows::{PLAN_AND_ISSUANCE, plan_and_issuance};
use super::sql::{Tx, Value};
use super::{Store, StoreError, aliases, append, due, inbox};
use crate::domain::{Entry, Event, Fact, Issuance, Kind, Plan, Status};
use crate::queue::{Content, Envelope};

/// What became of a plan that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutPlan {
    Created,
    /// Only its end moved, or nothing of it had been created yet.
    Updated,
    /// It was there already, just so.
    Unchanged,
    /// Its credential exists, and Seam lets nothing of it be changed but its end.
    Conflict {
        why: &'static str,
    },
}

/// What became of a plan that was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedPlan {
    Deleted,
    AlreadyDeleted,
    NotFound,
}

impl PutPlan {
    fn has_changed(&self) -> bool {
        matches!(self, Self::Created | Self::Updated)
    }
}

impl Store {
    /// Puts a plan. Idempotent: the same again changes nothing.
    ///
    /// A plan whose life is over (cancelled, ended) starts a new one. One that the provider revoked stays revoked until
    /// the plan is cancelled or differs: a customer's nightly sync must not undo what somebody did on purpose.
    pub async fn put_plan(&self, plan: &Plan) -> Result<PutPlan, StoreError> {
        let (now, entropy, plan) = (self.clock.now(), Arc::clone(&self.entropy), plan.clone());
        let putting = self.change_if(PutPlan::has_changed, move |tx| {
            Box::pin(async move {
                let (put, begun) = put(tx, now, &plan).await?;
                if put.has_changed() {
                    due::look_before_long(tx, now, &plan.key, plan.spec.ends_at).await?;
                    let fact = Fact::PlanPut {
                        plan_key: plan.key.clone(),
                        user_identity_id: plan.spec.user_identity_id.clone(),
                    };
                    announce(tx, now, entropy.id(now), &plan, Kind::PlanPut, begun, fact).await?;
                }
                Ok::<_, StoreError>(put)
            })
        });
        let put = putting.await?;
        if put.has_changed() {
            self.arrivals.notify_one();
        }
        Ok(put)
    }

    /// Cancels a plan: a worker will delete its credential at the provider and end the issuance as `revoked`.
    pub async fn delete_plan(&self, key: &str) -> Result<DeletedPlan, StoreError> {
        let (now, entropy, key) = (self.clock.now(), Arc::clone(&self.entropy), key.to_owned());
        let is_deleted = |deleted: &DeletedPlan| *deleted == DeletedPlan::Deleted;
        let deleting = self.change_if(is_deleted, move |tx| {
            Box::pin(async move {
                let Some((plan, _)) = lock(tx, &key).await? else { return Ok(DeletedPlan::NotFound) };
                if plan.deleted_at.is_some() {
                    return Ok(DeletedPlan::AlreadyDeleted);
                }
                let delete = "UPDATE plans SET deleted_at = $1 WHERE plan_key = $2";
                tx.execute(delete, [now.into(), Value::from(key.as_str())]).await?;
                due::look_before_long(tx, now, &key, None).await?;
                let user_identity_id = plan.spec.user_identity_id.clone();
                let fact = Fact::PlanDeleted { plan_key: key, user_identity_id };
                announce(tx, now, entropy.id(now), &plan, Kind::PlanDeleted, None, fact).await?;
                Ok::<_, StoreError>(DeletedPlan::Deleted)
            })
        });
        let deleted = deleting.await?;
        if is_deleted(&deleted) {
            self.arrivals.notify_one();
        }
        Ok(deleted)
    }
}

/// Writes the plan, and its issuance where a new life begins; returns the line that the ledger gets for that.
async fn put(tx: &mut Tx, now: Timestamp, plan: &Plan) -> Result<(PutPlan, Option<Entry>), StoreError> {
    if insert_plan(tx, plan).await? {
        let issuance = Issuance::planned(plan);
        insert_issuance(tx, now, &issuance).await?;
        aliases::set(tx, plan).await?;
        return Ok((PutPlan::Created, Some(issuance.entry())));
    }
    let (before, issuance) = lock(tx, &plan.key).await?.ok_or_else(|| gone(&plan.key))?;
    let put = judge(&before, &issuance, plan);
    if !put.has_changed() {
        return Ok((put, None));
    }
    update_plan(tx, plan).await?;
    aliases::set(tx, plan).await?;
    if issuance.may_have_credential() {
        return Ok((put, None));
    }
    let issuance = Issuance::planned(plan);
    restart(tx, now, &issuance).await?;
    Ok((put, Some(issuance.entry())))
}

/// Tells workers and the ledger what became of a plan.
async fn announce(
    tx: &mut Tx,
    now: Timestamp,
    event_id: Uuid,
    plan: &Plan,
    kind: Kind,
    also: Option<Entry>,
    fact: Fact,
) -> Result<(), StoreError> {
    let (event_id, event_type) = (event_id.to_string(), kind.as_str().to_owned());
    let body = json!({"event_id": event_id, "event_type": event_type, "plan_key": plan.key}).to_string();
    let mut entries = vec![Entry::new(kind).plan(&plan.key).person(&plan.spec.user_identity_id)];
    entries.extend(also);
    let event = Event { source: OWN_SOURCE.to_owned(), event_id, event_type, occurred_at: now, fact };
    let envelope = Envelope {
        delivery_id: event.event_id.clone(),
        received_at: now,
        traceparent: None,
        proof: None,
        body: body.into(),
        content: Content::Event(event),
    };
    entries.extend(inbox::insert(tx, now, &[envelope]).await?);
    append(tx, now, entries).await
}

/// The source of events that Keyferry puts into its own inbox. No configured source may have this name.
pub const OWN_SOURCE: &str = "keyferry";

fn judge(before: &Plan, issuance: &Issuance, plan: &Plan) -> PutPlan {
    let is_over = !issuance.may_have_credential();
    match before.deleted_at {
        Some(_) if is_over => PutPlan::Updated,
        Some(_) => PutPlan::Conflict { why: "the plan is being cancelled; put it again once it is revoked" },
        None if before.spec == plan.spec => PutPlan::Unchanged,
        None if !is_over && before.spec.ends_at.is_some() && plan.spec.ends_at.is_none() => PutPlan::Conflict {
            why: "its credential has an end, and Seam lets an end be moved but not taken away; give another ends_at",
        },
        None if is_over || before.spec.same_but_for_end(&plan.spec) => PutPlan::Updated,
        None => PutPlan::Conflict {
            why: "its credential exists or is being created, and Seam lets only ends_at be changed; \
                  cancel the plan first, or choose another key",
        },
    }
}

fn gone(key: &str) -> StoreError {
    StoreError::Corrupt(format!("the plan {key} has no issuance"))
}

/// Locks a plan and its issuance against every other writer, and reads them.
async fn lock(tx: &mut Tx, key: &str) -> Result<Option<(Plan, Issuance)>, StoreError> {
    tx.execute("UPDATE plans SET put_at = put_at WHERE plan_key = $1", [Value::from(key)]).await?;
    // What a worker has read of a credential that exists it has read under the old plan. A call to create is left
    // alone: it must be able to record what it did.
    tx.execute(
        "UPDATE issuances SET version = version + CASE WHEN status IN ('created', 'issued') THEN 1 ELSE 0 END \
         WHERE plan_key = $1",
        [Value::from(key)],
    )
    .await?;
    let sql = format!("SELECT {PLAN_AND_ISSUANCE} WHERE plans.plan_key = $1");
    tx.fetch_one(sql, [Value::from(key)]).await?.as_ref().map(plan_and_issuance).transpose()
}

async fn insert_plan(tx: &mut Tx, plan: &Plan) -> Result<bool, StoreError> {
    let inserted = tx
        .execute(
            "INSERT INTO plans (plan_key, user_identity_id, spec, put_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (plan_key) DO NOTHING",
            [
                Value::from(plan.key.as_str()),
                plan.spec.user_identity_id.as_str().into(),
                spec(plan)?.into(),
                plan.put_at.into(),
            ],
        )
        .await?;
    Ok(inserted == 1)
}

async fn update_plan(tx: &mut Tx, plan: &Plan) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE plans SET user_identity_id = $1, spec = $2, put_at = $3, deleted_at = NULL WHERE plan_key = $4",
        [
            Value::from(plan.spec.user_identity_id.as_str()),
            spec(plan)?.into(),
            plan.put_at.into(),
            plan.key.as_str().into(),
        ],
    )
    .await
    .map(drop)
}

fn spec(plan: &Plan) -> Result<String, StoreError> {
    serde_json::to_string(&plan.spec).map_err(|error| StoreError::Corrupt(error.to_string()))
}

async fn insert_issuance(tx: &mut Tx, now: Timestamp, issuance: &Issuance) -> Result<(), StoreError> {
    debug_assert_eq!(issuance.status, Status::Planned);
    tx.execute(
        "INSERT INTO issuances (plan_key, user_identity_id, status, acs_user_id, changed_at) \
         VALUES ($1, $2, 'planned', $3, $4)",
        [
            Value::from(issuance.plan_key.as_str()),
            issuance.user_identity_id.as_str().into(),
            (&issuance.acs_user_id).into(),
            now.into(),
        ],
    )
    .await
    .map(drop)
}

/// Begins a new life: what the ledger tells of the old one stays.
async fn restart(tx: &mut Tx, now: Timestamp, issuance: &Issuance) -> Result<(), StoreError> {
    let key = || Value::from(issuance.plan_key.as_str());
    tx.execute("DELETE FROM phone_keys WHERE plan_key = $1", [key()]).await?;
    tx.execute(
        "UPDATE issuances SET user_identity_id = $1, status = 'planned', acs_credential_id = NULL, acs_user_id = $2, \
             attempts = 0, overdue = 0, error = NULL, intent_at = NULL, intent_settles_at = NULL, look_at = NULL, \
             enrollment_automation_id = CASE WHEN user_identity_id = $1 THEN enrollment_automation_id END, version = version + 1, changed_at = $3 WHERE plan_key = $4",
        [issuance.user_identity_id.as_str().into(), (&issuance.acs_user_id).into(), now.into(), key()],
    )
    .await
    .map(drop)
}
