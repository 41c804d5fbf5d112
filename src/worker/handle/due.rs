//! It is time to look at a plan's issuance: because nothing was heard of it for a while, or its end has come.
//!
//! A look does what an event would have asked for had it come, and so finds phones that no webhook told of, calls whose
//! outcome nobody has asked about, keys whose issue was told to nobody, and ends. Then it says when to look next.

use super::{ignored, plan};
use crate::domain::{Entry, Issuance, Kind, Outcome, Plan, Status};
use crate::store::{Change, NextLook};
use crate::worker::Hand;
use crate::worker::classify::Trouble;

pub(super) async fn look_again(hand: &Hand<'_>, plan_key: &str) -> Result<Outcome, Trouble> {
    let Some((plan, issuance)) = hand.store().plan(plan_key).await? else {
        return Ok(ignored("there is no such plan"));
    };
    let looked = look(hand, &plan, issuance).await;
    match &looked {
        // Nothing more may be written, or all of this comes again at once.
        Err(Trouble::LeaseLost | Trouble::Store(_) | Trouble::Conflict { .. }) => {}
        _ => conclude(hand, plan_key, looked.as_ref().err()).await?,
    }
    looked
}

async fn look(hand: &Hand<'_>, plan: &Plan, issuance: Issuance) -> Result<Outcome, Trouble> {
    if plan.deleted_at.is_some() {
        return plan::deleted(hand, &plan.key).await;
    }
    if plan.has_ended(hand.now()) && !issuance.may_have_credential() {
        hand.end_without_credential(&issuance).await?;
        return Ok(Outcome::Done);
    }
    if issuance.status == Status::Failed {
        return Ok(ignored("the provider refused it, and a person has been told"));
    }
    if let Some(issuance) = plan::bring_about(hand, plan, issuance).await? {
        hand.look(plan, &issuance, None).await?;
    }
    Ok(Outcome::Done)
}

/// Says when to look next, and once whether a phone has waited too long; `trouble` is what the look has met.
async fn conclude(hand: &Hand<'_>, plan_key: &str, trouble: Option<&Trouble>) -> Result<(), Trouble> {
    let Some((plan, issuance)) = hand.store().plan(plan_key).await? else { return Ok(()) };
    let waiting_since = hand.store().waiting_since(plan_key).await?;
    let (rhythm, now) = (&hand.worker.settings.rhythm, hand.now());
    let next = rhythm.next_look(&plan, &issuance, waiting_since, now);
    let is_overdue = rhythm.is_overdue(&plan, &issuance, waiting_since, now);
    let mut change = Change::default();
    if is_overdue && !issuance.overdue {
        let since = waiting_since.unwrap_or(plan.put_at);
        let entry = Entry::new(Kind::IssuanceOverdue).plan(plan_key).person(&issuance.user_identity_id);
        let why = format!("waiting for the key since {since:.0}: {}", held_up_by(&issuance, trouble));
        change.ledger.push(entry.credential(issuance.acs_credential_id.as_deref()).why(why));
    }
    if is_overdue == issuance.overdue {
        change.looks.push(NextLook { plan_key: plan_key.to_owned(), version: issuance.version, at: next });
    } else {
        change.issuances.push(Issuance { overdue: is_overdue, look_at: next, ..issuance });
    }
    hand.commit(change).await
}

fn held_up_by(issuance: &Issuance, trouble: Option<&Trouble>) -> String {
    match (trouble, issuance.status, &issuance.error) {
        (Some(Trouble::Provider(error)), ..) => format!("the provider could not be asked, {error}"),
        (Some(Trouble::Lost { error, .. }), ..) => error.to_string(),
        (Some(Trouble::Unsettled { why, .. }), ..) => why.clone(),
        (_, Status::Created | Status::Issued, _) => {
            "the credential exists, and the provider has not brought its key to the phone".to_owned()
        }
        (_, _, Some(error)) => error.clone(),
        _ => "the credential has not been created".to_owned(),
    }
}
