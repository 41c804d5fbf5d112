//! What each kind of fact asks of us: one file per kind.
//!
//! A handler may run again at any point, after a crash or beside a late twin of itself: it asks what is so and does what
//! is missing.

mod credential;
mod due;
mod phone;
mod plan;

use super::Hand;
use super::classify::Trouble;
use crate::domain::{Fact, Issuance, Outcome, Plan};

pub(super) async fn handle(hand: &Hand<'_>) -> Result<Outcome, Trouble> {
    let fact = match &hand.claimed.fact {
        Ok(fact) => fact,
        Err(error) => {
            let why = format!("this worker does not understand the event; is it older than the receiver? ({error})");
            return Err(Trouble::NotUnderstood { why });
        }
    };
    match fact {
        Fact::PhoneRegistered { person, device_id, device_type } => {
            phone::registered(hand, person, device_id.as_deref(), device_type.as_deref()).await
        }
        Fact::KeyReported { person } => phone::key_reported(hand, person).await,
        Fact::PhoneDeactivated { device_id } => phone::deactivated(hand, device_id).await,
        Fact::CredentialChanged { acs_credential_id } => credential::changed(hand, acs_credential_id).await,
        Fact::AccessMethodIssued { access_method_id } => credential::access_method(hand, access_method_id).await,
        Fact::AcsUserDeleted { acs_user_id } => {
            let plans = hand.store().plans_of_acs_user(acs_user_id).await?;
            look_at_all(hand, plans).await
        }
        Fact::EnrollmentAutomationDeleted { enrollment_automation_id } => {
            plan::enrollment_deleted(hand, enrollment_automation_id).await
        }
        Fact::PlanPut { plan_key, .. } => plan::put(hand, plan_key).await,
        Fact::PlanDeleted { plan_key, .. } => plan::deleted(hand, plan_key).await,
        Fact::IssuanceDue { plan_key, .. } => due::look_again(hand, plan_key).await,
        Fact::Other => Ok(ignored("this type of event asks nothing of us")),
    }
}

fn ignored(why: &str) -> Outcome {
    Outcome::Ignored { why: why.to_owned() }
}

/// Reads again where each of `plans` stands. A trouble with one does not keep the others from being read.
async fn look_at_all(hand: &Hand<'_>, plans: Vec<(Plan, Issuance)>) -> Result<Outcome, Trouble> {
    if plans.is_empty() {
        return Ok(ignored("it concerns none of the plans"));
    }
    let mut troubles = Troubles::default();
    for (plan, issuance) in plans {
        troubles.note(hand.look(&plan, &issuance, None).await)?;
    }
    troubles.outcome()
}

/// What went wrong with some plans while the others went on. One that time mends counts before one that it doesn't: the
/// event comes again for it, and the other will still be there.
#[derive(Default)]
struct Troubles(Option<Trouble>);

impl Troubles {
    /// Remembers a trouble of one plan; passes on what concerns the event as a whole.
    fn note(&mut self, result: Result<(), Trouble>) -> Result<(), Trouble> {
        match result {
            Ok(()) => Ok(()),
            Err(fatal @ (Trouble::LeaseLost | Trouble::Store(_))) => Err(fatal),
            Err(trouble) => {
                if self.0.as_ref().is_none_or(Trouble::is_final) {
                    self.0 = Some(trouble);
                }
                Ok(())
            }
        }
    }

    fn result(self) -> Result<(), Trouble> {
        self.0.map_or(Ok(()), Err)
    }

    fn outcome(self) -> Result<Outcome, Trouble> {
        self.result().map(|()| Outcome::Done)
    }
}
