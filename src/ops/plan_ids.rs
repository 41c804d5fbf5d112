//! Asks the provider whether what a plan names exists, so that a wrong id is refused when the plan is put and not when
//! a guest stands before the door.

use std::fmt::Display;

use futures_util::future::join4;

use crate::domain::{FieldError, Person, PlanSpec};
use crate::provider::{AcsSystem, AcsUser, Provider, ProviderError};

/// What the provider said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) problems: Vec<FieldError>,
    /// The first reason why something could not be asked.
    pub(super) unverified: Option<String>,
}

/// Asks about all ids of a plan at once.
pub(super) async fn check(provider: &dyn Provider, spec: &PlanSpec) -> Findings {
    let mut findings = Findings::default();
    let person = Person::UserIdentityId(spec.user_identity_id.clone());
    let (person, user, system, manager) = join4(
        provider.find_person(&person),
        optional(spec.acs_user_id.as_deref(), |id| provider.get_acs_user(id)),
        optional(spec.acs_system_id.as_deref(), |id| provider.get_acs_system(id)),
        optional(spec.credential_manager_acs_system_id.as_deref(), |id| provider.get_acs_system(id)),
    )
    .await;
    findings.take("user_identity_id", Some(person));
    let user = findings.take("acs_user_id", user);
    let system = findings.take("acs_system_id", system);
    let manager = findings.take("credential_manager_acs_system_id", manager);
    findings.compare(spec, user.as_ref(), manager.as_ref());
    let system_id = user.map(|user| user.acs_system_id).or(system.map(|system| system.acs_system_id));
    if let Some(system_id) = system_id
        && !spec.allowed_acs_entrance_ids.is_empty()
    {
        findings.check_entrances(provider, spec, &system_id).await;
    }
    findings
}

async fn optional<'i, T, F: Future<Output = Result<T, ProviderError>>>(
    id: Option<&'i str>,
    ask: impl FnOnce(&'i str) -> F,
) -> Option<Result<T, ProviderError>> {
    match id {
        Some(id) => Some(ask(id).await),
        None => None,
    }
}

impl Findings {
    /// Keeps what was found, or notes why it was not.
    fn take<T>(&mut self, field: &str, asked: Option<Result<T, ProviderError>>) -> Option<T> {
        match asked? {
            Ok(found) => return Some(found),
            Err(error) if error.is_not_found() => self.refuse(field, "the provider knows no such id in this workspace"),
            Err(ProviderError::Permanent { error_type, message, .. }) => {
                self.refuse(field, format!("the provider refuses it: {error_type}: {message}"));
            }
            Err(
                error @ (ProviderError::Transient { .. } | ProviderError::Unknown { .. } | ProviderError::Held { .. }),
            ) => {
                self.unverified.get_or_insert_with(|| error.to_string());
            }
        }
        None
    }

    fn refuse(&mut self, field: &str, reason: impl Display) {
        self.problems.push(FieldError::new(field, reason.to_string()));
    }

    /// What exists must also fit together.
    fn compare(&mut self, spec: &PlanSpec, user: Option<&AcsUser>, manager: Option<&AcsSystem>) {
        if let Some(user) = user {
            if user.user_identity_id.as_ref().is_some_and(|owner| *owner != spec.user_identity_id) {
                self.refuse("acs_user_id", "this ACS user belongs to another user identity than the plan's");
            }
            if spec.acs_system_id.as_ref().is_some_and(|system_id| *system_id != user.acs_system_id) {
                self.refuse("acs_system_id", "the plan's ACS user is in another system; leave acs_system_id out");
            }
        }
        if manager.is_some_and(|manager| !manager.is_credential_manager) {
            let reason = "this system manages no credentials; give the id of a credential manager, e.g. an \
                          ASSA ABLOY Credential Service";
            self.refuse("credential_manager_acs_system_id", reason);
        }
    }

    async fn check_entrances(&mut self, provider: &dyn Provider, spec: &PlanSpec, system_id: &str) {
        let listed = provider.entrances_of_system(system_id).await;
        let Some(entrances) = self.take("allowed_acs_entrance_ids", Some(listed)) else { return };
        for (index, id) in spec.allowed_acs_entrance_ids.iter().enumerate() {
            if !entrances.contains(id) {
                self.refuse(
                    &format!("allowed_acs_entrance_ids[{index}]"),
                    format!("{id} is no entrance of the system {system_id}"),
                );
            }
        }
    }
}
