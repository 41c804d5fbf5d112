//! *Ensure* that a plan's credential exists: intent, call, record.
//!
//! Seam's API has no idempotency key, and on Visionline a second `override` credential invalidates the first guest key.
//! So the intent is committed before the call, a call whose outcome is unknown is never repeated blindly, and the only
//! way out of not knowing is to ask: list the ACS user's credentials and match.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Hand;
use super::classify::Trouble;
use crate::clock;
use crate::domain::issuance::{Intent, Next};
use crate::domain::plan::{AccessMethod, Enrollment};
use crate::domain::{Entry, Issuance, Plan, Status};
use crate::provider::{Credential, CredentialFilter, NewCredential, ProviderError};
use crate::store::Change;

/// How soon after its intent a call must begin, so that it has ended when the intent has settled: an intent settles no
/// sooner than this and the call's deadline together.
pub const START_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// How far the provider's clock may be behind ours: what was created longer before our call is not our call's doing.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);

impl Hand<'_> {
    /// Returns the issuance as it stands: with its credential, or as one that shall have none.
    pub(super) async fn ensure(&self, plan: &Plan, issuance: Issuance) -> Result<Issuance, Trouble> {
        let mut issuance = issuance;
        loop {
            issuance = match issuance.next(plan, self.now()) {
                Next::Nothing | Next::Look => return Ok(issuance),
                Next::Wait { until } => {
                    let why = format!("a call to create the credential of plan {} may be under way", plan.key);
                    return Err(Trouble::Unsettled { until, why });
                }
                Next::Ask { called_at } => self.ask(plan, &issuance, called_at).await?,
                Next::Create => self.create(plan, &issuance).await?,
            };
        }
    }

    async fn create(&self, plan: &Plan, issuance: &Issuance) -> Result<Issuance, Trouble> {
        let enrolled = self.enroll(plan, issuance).await?;
        // What there is to wait for is waited for before the intent: after it, the call must begin at once.
        let leave = self.provider.leave().await?;
        let at = self.now();
        let intent = Intent { at, settles_at: clock::add(at, self.worker.settings.settle) };
        let creating = self.advance(plan, enrolled.creating(intent), None).await?;
        if self.now() > clock::add(at, START_WITHIN) {
            // Called now, it could still be under way when somebody else asks about it.
            let why = "the intent took too long to commit; nothing was called";
            self.advance(plan, creating.not_created(why.to_owned()), None).await?;
            return Err(Trouble::Unsettled { until: self.now(), why: why.to_owned() });
        }

        let called = leave.create_credential(&new_credential(plan)).await;
        let after = match &called {
            Ok(credential) => creating.created(&credential.acs_credential_id, credential.acs_user_id.as_deref()),
            Err(error @ (ProviderError::Transient { .. } | ProviderError::Held { .. })) => {
                creating.not_created(error.to_string())
            }
            Err(error @ ProviderError::Permanent { .. }) if plan.is_live(self.now()) => {
                creating.failed(error.to_string())
            }
            // Refused because its time passed on the way, or for what matters no more.
            Err(error @ ProviderError::Permanent { .. }) => creating.not_created(error.to_string()),
            Err(error @ ProviderError::Unknown { .. }) => creating.unknown(error.to_string()),
        };
        let after = self.advance(plan, after, None).await?;
        match called {
            Ok(_) => Ok(after),
            Err(ProviderError::Permanent { .. }) if after.status == Status::Planned => Ok(after),
            Err(error @ ProviderError::Unknown { .. }) => Err(Trouble::Lost { error, settles_at: intent.settles_at }),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds out what became of a call: adopts the credential that it made, or says that it made none.
    async fn ask(&self, plan: &Plan, issuance: &Issuance, called_at: Timestamp) -> Result<Issuance, Trouble> {
        let filter = CredentialFilter {
            is_multi_phone_sync_credential: is_multi_phone(plan).then_some(true),
            ..filter(plan, issuance)
        };
        let listed = self.provider().list_credentials(&filter).await?;
        let mut candidates: Vec<Credential> =
            listed.into_iter().filter(|credential| could_be(plan, called_at, credential)).collect();
        let ids: Vec<String> = candidates.iter().map(|credential| credential.acs_credential_id.clone()).collect();
        let taken = self.store().credentials_of_other_plans(&plan.key, &ids).await?;
        candidates.retain(|credential| !taken.contains(&credential.acs_credential_id));
        // Were there several, another plan's lost call may have made one just like ours, or like ours but for its end,
        // which may have been moved since we called. Of those with the planned end the nearest to our call is taken: a
        // later one would leave ours to a plan that called too late to recognise it, and that would create a third.
        candidates.sort_by_key(|credential| {
            (!ends_as_planned(plan, credential), credential.created_at.duration_since(called_at).abs())
        });
        for credential in candidates {
            if self.opens_what_is_planned(plan, &credential).await?
                && self.make_end_as_planned(plan, &credential).await?
            {
                let adopted = issuance.created(&credential.acs_credential_id, credential.acs_user_id.as_deref());
                return self
                    .advance(plan, adopted, Some("found at the provider after a lost answer, and adopted"))
                    .await;
            }
        }
        let why = "the provider has no credential from the call whose answer was lost; it is created again";
        self.advance(plan, issuance.not_created(why.to_owned()), None).await
    }

    async fn opens_what_is_planned(&self, plan: &Plan, credential: &Credential) -> Result<bool, Trouble> {
        if plan.spec.allowed_acs_entrance_ids.is_empty() {
            return Ok(true);
        }
        let opens = match self.provider().entrances_of_credential(&credential.acs_credential_id).await {
            // Deleted since it was listed.
            Err(error) if error.is_not_found() => return Ok(false),
            opens => opens?,
        };
        let opens: BTreeSet<&str> = opens.iter().map(String::as_str).collect();
        let planned: BTreeSet<&str> = plan.spec.allowed_acs_entrance_ids.iter().map(String::as_str).collect();
        // An access system may add doors that everybody may pass.
        Ok(planned.is_subset(&opens))
    }

    /// Moves the end of a credential that is about to be adopted, if it is not the plan's; `false` when it is gone.
    ///
    /// Before the adoption is recorded, since nobody would look at the end again after it.
    async fn make_end_as_planned(&self, plan: &Plan, credential: &Credential) -> Result<bool, Trouble> {
        match plan.spec.ends_at {
            Some(ends_at) if plan.is_live(self.now()) && !ends_as_planned(plan, credential) => {
                match self.provider().update_credential(&credential.acs_credential_id, ends_at).await {
                    Err(error) if error.is_not_found() => Ok(false),
                    // Too late: the look that follows sees to it.
                    Err(_) if plan.has_ended(self.now()) => Ok(true),
                    moved => Ok(moved.map(|()| true)?),
                }
            }
            _ => Ok(true),
        }
    }

    /// Adopts the person's enrollment automation, which may be of a call whose answer was lost, or launches one; only
    /// where the plan asks for the old way.
    async fn enroll(&self, plan: &Plan, issuance: &Issuance) -> Result<Issuance, Trouble> {
        let manager = match (plan.spec.enrollment, &plan.spec.credential_manager_acs_system_id) {
            (Some(Enrollment::LaunchAutomation), Some(manager)) if issuance.enrollment_automation_id.is_none() => {
                manager
            }
            _ => return Ok(issuance.clone()),
        };
        let (provider, person) = (self.provider(), &issuance.user_identity_id);
        let id = match provider.find_enrollment_automation(person, manager).await? {
            Some(id) => id,
            None => provider.launch_enrollment_automation(person, manager).await?,
        };
        let launched = Issuance { enrollment_automation_id: Some(id), ..issuance.clone() };
        self.commit(Change { issuances: vec![launched.clone()], ..Change::default() }).await?;
        Ok(Issuance { version: launched.version + 1, ..launched })
    }

    /// Commits where an issuance stands now; returns it as the store has it.
    pub(super) async fn advance(
        &self,
        plan: &Plan,
        issuance: Issuance,
        why: Option<&str>,
    ) -> Result<Issuance, Trouble> {
        let issuance = self.due_again(plan, issuance, true);
        let entry = issuance.entry();
        let entry = match why {
            Some(why) => Entry::why(entry, why),
            None => entry,
        };
        let change = Change { issuances: vec![issuance.clone()], ledger: vec![entry], ..Change::default() };
        self.commit(change).await?;
        Ok(Issuance { version: issuance.version + 1, ..issuance })
    }
}

fn is_multi_phone(plan: &Plan) -> bool {
    plan.spec.access_method == AccessMethod::MobileKey
}

/// All credentials of the plan's ACS user, as narrowly as it is known.
pub(super) fn filter(plan: &Plan, issuance: &Issuance) -> CredentialFilter {
    match &issuance.acs_user_id {
        Some(acs_user_id) => CredentialFilter { acs_user_id: Some(acs_user_id.clone()), ..CredentialFilter::default() },
        None => CredentialFilter {
            user_identity_id: Some(plan.spec.user_identity_id.clone()),
            acs_system_id: plan.spec.acs_system_id.clone(),
            ..CredentialFilter::default()
        },
    }
}

/// Whether a listed credential can be what a call of ours at `called_at` made. Its entrances are not in the list, and its
/// end need not be the planned one: that may have been moved since the call.
fn could_be(plan: &Plan, called_at: Timestamp, credential: &Credential) -> bool {
    credential.parent_acs_credential_id.is_none()
        && credential.is_usable
        && credential.access_method == plan.spec.access_method.as_str()
        && credential.is_multi_phone_sync_credential == is_multi_phone(plan)
        && is_as_planned(plan.spec.starts_at, credential.starts_at)
        && clock::add(credential.created_at, CLOCK_SLACK) >= called_at
}

fn ends_as_planned(plan: &Plan, credential: &Credential) -> bool {
    is_as_planned(plan.spec.ends_at, credential.ends_at)
}

fn is_as_planned(planned: Option<Timestamp>, listed: Option<Timestamp>) -> bool {
    planned.is_none() || planned.map(Timestamp::as_millisecond) == listed.map(Timestamp::as_millisecond)
}

fn new_credential(plan: &Plan) -> NewCredential {
    let spec = &plan.spec;
    // Seam takes either the ACS user, or the person and the system in which to find or make the ACS user.
    let by_person = spec.acs_user_id.is_none();
    NewCredential {
        access_method: spec.access_method.as_str().to_owned(),
        acs_user_id: spec.acs_user_id.clone(),
        user_identity_id: by_person.then(|| spec.user_identity_id.clone()),
        acs_system_id: spec.acs_system_id.clone().filter(|_| by_person),
        credential_manager_acs_system_id: spec.credential_manager_acs_system_id.clone(),
        allowed_acs_entrance_ids: spec.allowed_acs_entrance_ids.clone(),
        is_multi_phone_sync_credential: is_multi_phone(plan),
        starts_at: spec.starts_at,
        ends_at: spec.ends_at,
        code: spec.code.clone(),
        visionline_metadata: spec.visionline_metadata.clone(),
        assa_abloy_vostio_metadata: spec.assa_abloy_vostio_metadata.clone(),
        salto_space_metadata: spec.salto_space_metadata.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PlanSpec;

    fn credential() -> Credential {
        Credential {
            acs_credential_id: "c".to_owned(),
            acs_system_id: "s".to_owned(),
            acs_user_id: Some("a".to_owned()),
            user_identity_id: Some("u".to_owned()),
            parent_acs_credential_id: None,
            access_method: "mobile_key".to_owned(),
            is_multi_phone_sync_credential: true,
            is_issued: false,
            issued_at: None,
            created_at: "2026-03-01T10:00:00Z".parse().expect("a time"),
            starts_at: Some("2026-03-01T14:00:00.000Z".parse().expect("a time")),
            ends_at: Some("2026-03-04T10:00:00Z".parse().expect("a time")),
            is_usable: true,
            errors: vec![],
        }
    }

    #[test]
    fn only_what_our_own_call_can_have_made_is_adopted() {
        let body = br#"{"user_identity_id": "u", "acs_user_id": "a", "starts_at": "2026-03-01T14:00:00Z",
            "ends_at": "2026-03-04T10:00:00Z"}"#;
        let called_at: Timestamp = "2026-03-01T10:00:01Z".parse().expect("a time");
        let plan = Plan {
            key: "booking-1".to_owned(),
            spec: PlanSpec::from_json(body).expect("a plan"),
            put_at: "2026-02-01T00:00:00Z".parse().expect("a time"),
            deleted_at: None,
        };
        let could = |change: &dyn Fn(&mut Credential)| {
            let mut credential = credential();
            change(&mut credential);
            could_be(&plan, called_at, &credential)
        };
        assert!(could(&|_| {}));
        assert!(!could(&|it| it.parent_acs_credential_id = Some("p".to_owned())), "a child");
        assert!(!could(&|it| it.is_usable = false), "invalidated since");
        assert!(!could(&|it| it.is_multi_phone_sync_credential = false), "a single key");
        assert!(!could(&|it| it.access_method = "card".to_owned()), "a card");
        assert!(!could(&|it| it.starts_at = it.ends_at), "another stay");
        assert!(could(&|it| it.ends_at = None), "its end can be moved");
        assert!(!could(&|it| it.created_at = "2026-03-01T09:00:00Z".parse().expect("a time")), "made long before");
    }
}
