//! A plan was put, or cancelled; or what enrolled its phones is gone.

use jiff::Timestamp;

use super::{Troubles, ignored, phone};
use crate::domain::{Issuance, Outcome, Person, Plan, Status};
use crate::store::Change;
use crate::worker::Hand;
use crate::worker::classify::Trouble;
use crate::worker::look::revoked;

pub(super) async fn put(hand: &Hand<'_>, plan_key: &str) -> Result<Outcome, Trouble> {
    let Some((plan, issuance)) = hand.store().plan(plan_key).await? else {
        return Ok(ignored("there is no such plan"));
    };
    if plan.deleted_at.is_some() {
        return Ok(ignored("the plan was cancelled in the meantime"));
    }
    // What was told of the person under an alias that nobody had then.
    if !plan.spec.aliases.is_empty() {
        let again = plan.spec.aliases.iter().map(|(source, id)| Person::alias_subject(source, id)).collect();
        hand.commit(Change { again, ..Change::default() }).await?;
    }
    if let Some(issuance) = bring_about(hand, &plan, issuance).await? {
        move_end(hand, &plan, &issuance).await?;
        hand.look(&plan, &issuance, None).await?;
    }
    Ok(Outcome::Done)
}

/// Ensures a live plan's credential, unless it still waits for the person's first phone: then `None`.
pub(super) async fn bring_about(hand: &Hand<'_>, plan: &Plan, issuance: Issuance) -> Result<Option<Issuance>, Trouble> {
    // The person may have a phone since an earlier stay, or no webhook told of it.
    let user_identity_id = &plan.spec.user_identity_id;
    let seen_at = hand.now();
    let listed = hand.provider().phones_of_person(user_identity_id).await?;
    phone::note_phones(hand, user_identity_id, seen_at, &listed, None).await?;
    if listed.is_empty() && !plan.spec.creates_at_once() && !issuance.may_have_credential() {
        return Ok(None);
    }
    hand.ensure(plan, issuance).await.map(Some)
}

/// Moves the credential's end to the plan's, if it is another.
async fn move_end(hand: &Hand<'_>, plan: &Plan, issuance: &Issuance) -> Result<(), Trouble> {
    let (Some(id), Some(ends_at)) = (&issuance.acs_credential_id, plan.spec.ends_at) else { return Ok(()) };
    if issuance.status == Status::Revoked || issuance.status == Status::Ended {
        return Ok(());
    }
    match hand.get(id).await? {
        Some(credential) if credential.ends_at.map(Timestamp::as_millisecond) != Some(ends_at.as_millisecond()) => {
            match hand.provider().update_credential(id, ends_at).await {
                // Gone in between, or over: the look that follows sees to it.
                Err(error) if error.is_not_found() || plan.has_ended(hand.now()) => Ok(()),
                updated => Ok(updated?),
            }
        }
        _ => Ok(()),
    }
}

pub(super) async fn deleted(hand: &Hand<'_>, plan_key: &str) -> Result<Outcome, Trouble> {
    let Some((plan, issuance)) = hand.store().plan(plan_key).await? else {
        return Ok(ignored("there is no such plan"));
    };
    if plan.deleted_at.is_none() {
        return Ok(ignored("the plan was put again in the meantime"));
    }
    // Settles what is unknown: a credential that nobody knows of could not be deleted.
    let issuance = hand.ensure(&plan, issuance).await?;
    if matches!(issuance.status, Status::Revoked | Status::Ended) {
        return Ok(Outcome::Done);
    }
    if let Some(id) = &issuance.acs_credential_id {
        hand.delete(id).await?;
    }
    let known = hand.store().phone_keys(&plan.key).await?;
    hand.take_over(&issuance, issuance.revoked("the plan was cancelled".to_owned()), revoked(&known)).await?;
    Ok(Outcome::Done)
}

/// The automation is forgotten, so that the next phone of the person launches a new one.
pub(super) async fn enrollment_deleted(hand: &Hand<'_>, enrollment_automation_id: &str) -> Result<Outcome, Trouble> {
    let plans = hand.store().plans_of_enrollment(enrollment_automation_id).await?;
    if plans.is_empty() {
        return Ok(ignored("none of the plans launched this enrollment automation"));
    }
    let mut troubles = Troubles::default();
    for (_, issuance) in plans {
        let forgotten = Issuance { enrollment_automation_id: None, ..issuance };
        let change = Change { issuances: vec![forgotten], ..Change::default() };
        troubles.note(hand.commit(change).await)?;
    }
    troubles.outcome()
}
