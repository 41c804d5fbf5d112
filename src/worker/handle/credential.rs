//! Something happened to a credential. The event says only to which; where it stands is read from the object.

use super::{ignored, look_at_all};
use crate::domain::{Issuance, Outcome, Plan};
use crate::worker::Hand;
use crate::worker::classify::Trouble;

/// A credential that belongs to no plan is ignored, also when our own call to create it has not been recorded yet:
/// recording it is followed by a look, and that will see what this event tells of.
pub(super) async fn changed(hand: &Hand<'_>, acs_credential_id: &str) -> Result<Outcome, Trouble> {
    let plans = plans_of(hand, acs_credential_id).await?;
    if plans.is_empty() {
        return Ok(ignored("the credential belongs to none of the plans"));
    }
    look_at_all(hand, plans).await
}

pub(super) async fn access_method(hand: &Hand<'_>, access_method_id: &str) -> Result<Outcome, Trouble> {
    let mut plans: Vec<(Plan, Issuance)> = Vec::new();
    let credentials = match hand.provider().credentials_of_access_method(access_method_id).await {
        Err(error) if error.is_not_found() => Vec::new(),
        credentials => credentials?,
    };
    for credential in credentials {
        let parent = credential.parent_acs_credential_id.unwrap_or(credential.acs_credential_id);
        for found in hand.store().plans_of_credential(&parent).await? {
            if plans.iter().all(|(plan, _)| plan.key != found.0.key) {
                plans.push(found);
            }
        }
    }
    look_at_all(hand, plans).await
}

/// A child that is new to us does not say whose it is; its parent does.
async fn plans_of(hand: &Hand<'_>, acs_credential_id: &str) -> Result<Vec<(Plan, Issuance)>, Trouble> {
    let plans = hand.store().plans_of_credential(acs_credential_id).await?;
    if !plans.is_empty() {
        return Ok(plans);
    }
    let parent = hand.get(acs_credential_id).await?.and_then(|credential| credential.parent_acs_credential_id);
    match parent {
        Some(parent) => Ok(hand.store().plans_of_credential(&parent).await?),
        None => Ok(Vec::new()),
    }
}
