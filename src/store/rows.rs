//! Rows into values.

use super::sql::Row;
use super::{Claimed, StoreError};
use crate::domain::issuance::Intent;
use crate::domain::{Issuance, KeyStatus, Phone, PhoneKey, Plan, PlanSpec, Status};

pub(super) fn claimed(row: &Row) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        seq: row.int("seq")?,
        source: row.text("source")?,
        event_id: row.text("event_id")?,
        event_type: row.text("event_type")?,
        received_at: row.time("received_at")?,
        fact: serde_json::from_str(&row.text("fact")?).map_err(|error| error.to_string()),
        traceparent: row.opt_text("traceparent")?,
        attempt: row.count("attempts")?,
        lease: row.text("lease")?,
        twins: vec![],
    })
}

/// What to select for a plan with its issuance, as [`plan`] and [`issuance`] read them.
pub(super) const PLAN_AND_ISSUANCE: &str = "
           plans.plan_key, plans.spec, plans.put_at, plans.deleted_at, issuances.user_identity_id, issuances.status,
           issuances.acs_credential_id, issuances.acs_user_id, issuances.enrollment_automation_id, issuances.attempts,
           issuances.overdue, issuances.error, issuances.intent_at, issuances.intent_settles_at,
           issuances.look_at, issuances.changed_at, issuances.version
    FROM issuances JOIN plans ON plans.plan_key = issuances.plan_key";

pub(super) fn plan_and_issuance(row: &Row) -> Result<(Plan, Issuance), StoreError> {
    Ok((plan(row)?, issuance(row)?))
}

fn plan(row: &Row) -> Result<Plan, StoreError> {
    let key = row.text("plan_key")?;
    let spec: PlanSpec = serde_json::from_str(&row.text("spec")?)
        .map_err(|error| StoreError::Corrupt(format!("the plan {key} cannot be read: {error}")))?;
    Ok(Plan { key, spec, put_at: row.time("put_at")?, deleted_at: row.opt_time("deleted_at")? })
}

fn issuance(row: &Row) -> Result<Issuance, StoreError> {
    let status = row.text("status")?;
    let intent = match (row.opt_time("intent_at")?, row.opt_time("intent_settles_at")?) {
        (Some(at), Some(settles_at)) => Some(Intent { at, settles_at }),
        _ => None,
    };
    Ok(Issuance {
        plan_key: row.text("plan_key")?,
        user_identity_id: row.text("user_identity_id")?,
        status: Status::parse(&status).ok_or(StoreError::Corrupt(format!("the status {status}")))?,
        acs_credential_id: row.opt_text("acs_credential_id")?,
        acs_user_id: row.opt_text("acs_user_id")?,
        enrollment_automation_id: row.opt_text("enrollment_automation_id")?,
        attempts: row.count("attempts")?,
        overdue: row.int("overdue")? != 0,
        error: row.opt_text("error")?,
        intent,
        look_at: row.opt_time("look_at")?,
        changed_at: row.time("changed_at")?,
        version: row.int("version")?,
    })
}

pub(super) fn phone(row: &Row) -> Result<Phone, StoreError> {
    Ok(Phone {
        device_id: row.text("device_id")?,
        user_identity_id: row.text("user_identity_id")?,
        device_type: row.opt_text("device_type")?,
        is_active: row.int("is_active")? != 0,
    })
}

pub(super) fn phone_key(row: &Row) -> Result<PhoneKey, StoreError> {
    let status = row.text("status")?;
    Ok(PhoneKey {
        plan_key: row.text("plan_key")?,
        device_id: row.text("device_id")?,
        status: KeyStatus::parse(&status).ok_or(StoreError::Corrupt(format!("the key status {status}")))?,
        acs_credential_id: row.opt_text("acs_credential_id")?,
        issued_at: row.opt_time("issued_at")?,
    })
}
