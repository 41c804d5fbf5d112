//! A provider that is a list of what exists, and can be away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use keyferry::domain::Person;
use keyferry::provider::{
    AcsSystem, AcsUser, Credential, CredentialFilter, ListedEvent, NewCredential, Phone, Provider, ProviderError,
};

/// `u-1` with `acs-1` in the hotel's system, which has the entrances `door-1` and `door-2`; `u-2` with `acs-2` next
/// door; and a credential manager.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) is_away: AtomicBool,
    pub(super) calls: AtomicUsize,
}

impl Registry {
    fn find<T>(&self, call: &'static str, known: &[(&str, T)], id: &str) -> Result<T, ProviderError>
    where
        T: Clone,
    {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(ProviderError::Transient { call, why: "connection refused".to_owned(), retry_after: None });
        }
        known.iter().find(|(known, _)| *known == id).map(|(_, found)| found.clone()).ok_or_else(|| {
            let (error_type, message) = ("not_found".to_owned(), "no such thing".to_owned());
            ProviderError::Permanent { call, status: 404, error_type, message }
        })
    }
}

fn user(id: &str, system: &str, person: &str) -> AcsUser {
    let user_identity_id = Some(person.to_owned());
    AcsUser { acs_user_id: id.to_owned(), acs_system_id: system.to_owned(), user_identity_id }
}

fn system(id: &str, is_credential_manager: bool) -> AcsSystem {
    AcsSystem { acs_system_id: id.to_owned(), name: id.to_owned(), is_credential_manager }
}

/// The ops API has no business there.
fn never<T>() -> T {
    panic!("the ops API asks the provider for what a plan names, and for nothing else")
}

#[async_trait]
impl Provider for Registry {
    async fn find_person(&self, person: &Person) -> Result<String, ProviderError> {
        let Person::UserIdentityId(id) = person else { return never() };
        let known = [("u-1", ()), ("u-2", ())];
        self.find("/user_identities/get", &known, id).map(|()| id.clone())
    }

    async fn get_acs_user(&self, id: &str) -> Result<AcsUser, ProviderError> {
        let known = [("acs-1", user("acs-1", "hotel", "u-1")), ("acs-2", user("acs-2", "next-door", "u-2"))];
        self.find("/acs/users/get", &known, id)
    }

    async fn get_acs_system(&self, id: &str) -> Result<AcsSystem, ProviderError> {
        let known = [("hotel", system("hotel", false)), ("manager", system("manager", true))];
        self.find("/acs/systems/get", &known, id)
    }

    async fn entrances_of_system(&self, id: &str) -> Result<Vec<String>, ProviderError> {
        let known = [("hotel", vec!["door-1".to_owned(), "door-2".to_owned()])];
        self.find("/acs/entrances/list", &known, id)
    }

    async fn create_credential(&self, _: &NewCredential) -> Result<Credential, ProviderError> {
        never()
    }
    async fn get_credential(&self, _: &str) -> Result<Credential, ProviderError> {
        never()
    }
    async fn list_credentials(&self, _: &CredentialFilter) -> Result<Vec<Credential>, ProviderError> {
        never()
    }
    async fn update_credential(&self, _: &str, _: Timestamp) -> Result<(), ProviderError> {
        never()
    }
    async fn delete_credential(&self, _: &str) -> Result<(), ProviderError> {
        never()
    }
    async fn entrances_of_credential(&self, _: &str) -> Result<Vec<String>, ProviderError> {
        never()
    }
    async fn credentials_of_access_method(&self, _: &str) -> Result<Vec<Credential>, ProviderError> {
        never()
    }
    async fn phones_of_person(&self, _: &str) -> Result<Vec<Phone>, ProviderError> {
        never()
    }
    async fn phones_of_credential(&self, _: &str) -> Result<Vec<Phone>, ProviderError> {
        never()
    }
    async fn get_phone(&self, _: &str) -> Result<Phone, ProviderError> {
        never()
    }
    async fn list_acs_users(&self, _: &str, _: &str) -> Result<Vec<AcsUser>, ProviderError> {
        never()
    }
    async fn list_events(&self, _: Timestamp, _: Timestamp) -> Result<Vec<ListedEvent>, ProviderError> {
        never()
    }
    async fn find_enrollment_automation(&self, _: &str, _: &str) -> Result<Option<String>, ProviderError> {
        never()
    }
    async fn launch_enrollment_automation(&self, _: &str, _: &str) -> Result<String, ProviderError> {
        never()
    }
}
