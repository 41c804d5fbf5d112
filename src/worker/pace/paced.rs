//! The provider, called at its pace.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::breaker::Pass;
use super::{Pace, RateUse, Standing};
use crate::domain::Person;
use crate::provider::{
    AcsSystem, AcsUser, Credential, CredentialFilter, ListedEvent, NewCredential, Phone, Provider, ProviderError,
};
use crate::store::StoreError;

/// A [`Provider`] whose calls wait for their slot and for the breaker. A list is one call here, however many pages it
/// has. Clones share the pace.
#[derive(Clone)]
pub struct Paced {
    pace: Arc<Pace>,
    /// Whose calls these are; `None` for nobody's in particular.
    person: Option<Arc<str>>,
}

/// Leave for one call, to be made at once.
pub(in crate::worker) struct Leave<'p> {
    paced: &'p Paced,
    pass: Pass,
}

impl Paced {
    pub(in crate::worker) fn new(pace: Arc<Pace>) -> Self {
        Self { pace, person: None }
    }

    pub(in crate::worker) fn of_person(&self, person: Option<String>) -> Self {
        Self { pace: Arc::clone(&self.pace), person: person.map(Into::into) }
    }

    /// Waits until a call may begin: for a call that must begin at once when something else is done.
    pub(in crate::worker) async fn leave(&self) -> Result<Leave<'_>, ProviderError> {
        let pass = self.pace.admit(self.person.as_deref()).await?;
        Ok(Leave { paced: self, pass })
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, ProviderError>> + Send) -> Result<T, ProviderError> {
        self.leave().await?.make(call).await
    }

    /// How things stand with the provider, as this process has seen it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.pace.standing()
    }

    /// `None`: there is no limit.
    pub async fn rate_use(&self) -> Result<Option<RateUse>, StoreError> {
        self.pace.rate_use().await
    }
}

impl Leave<'_> {
    pub(in crate::worker) async fn create_credential(self, new: &NewCredential) -> Result<Credential, ProviderError> {
        let provider = &self.paced.pace.provider;
        self.make(provider.create_credential(new)).await
    }

    async fn make<T>(self, call: impl Future<Output = Result<T, ProviderError>> + Send) -> Result<T, ProviderError> {
        let result = call.await;
        self.paced.pace.report(self.pass, self.paced.person.as_deref(), result.as_ref().err()).await;
        result
    }
}

#[async_trait]
impl Provider for Paced {
    async fn create_credential(&self, new: &NewCredential) -> Result<Credential, ProviderError> {
        self.leave().await?.create_credential(new).await
    }

    async fn get_credential(&self, acs_credential_id: &str) -> Result<Credential, ProviderError> {
        self.call(self.pace.provider.get_credential(acs_credential_id)).await
    }

    async fn list_credentials(&self, filter: &CredentialFilter) -> Result<Vec<Credential>, ProviderError> {
        self.call(self.pace.provider.list_credentials(filter)).await
    }

    async fn update_credential(&self, acs_credential_id: &str, ends_at: Timestamp) -> Result<(), ProviderError> {
        self.call(self.pace.provider.update_credential(acs_credential_id, ends_at)).await
    }

    async fn delete_credential(&self, acs_credential_id: &str) -> Result<(), ProviderError> {
        self.call(self.pace.provider.delete_credential(acs_credential_id)).await
    }

    async fn entrances_of_credential(&self, acs_credential_id: &str) -> Result<Vec<String>, ProviderError> {
        self.call(self.pace.provider.entrances_of_credential(acs_credential_id)).await
    }

    async fn entrances_of_system(&self, acs_system_id: &str) -> Result<Vec<String>, ProviderError> {
        self.call(self.pace.provider.entrances_of_system(acs_system_id)).await
    }

    async fn credentials_of_access_method(&self, access_method_id: &str) -> Result<Vec<Credential>, ProviderError> {
        self.call(self.pace.provider.credentials_of_access_method(access_method_id)).await
    }

    async fn phones_of_person(&self, user_identity_id: &str) -> Result<Vec<Phone>, ProviderError> {
        self.call(self.pace.provider.phones_of_person(user_identity_id)).await
    }

    async fn phones_of_credential(&self, acs_credential_id: &str) -> Result<Vec<Phone>, ProviderError> {
        self.call(self.pace.provider.phones_of_credential(acs_credential_id)).await
    }

    async fn get_phone(&self, device_id: &str) -> Result<Phone, ProviderError> {
        self.call(self.pace.provider.get_phone(device_id)).await
    }

    async fn find_person(&self, person: &Person) -> Result<String, ProviderError> {
        self.call(self.pace.provider.find_person(person)).await
    }

    async fn get_acs_user(&self, acs_user_id: &str) -> Result<AcsUser, ProviderError> {
        self.call(self.pace.provider.get_acs_user(acs_user_id)).await
    }

    async fn list_acs_users(&self, user_identity_id: &str, acs_system_id: &str) -> Result<Vec<AcsUser>, ProviderError> {
        self.call(self.pace.provider.list_acs_users(user_identity_id, acs_system_id)).await
    }

    async fn get_acs_system(&self, acs_system_id: &str) -> Result<AcsSystem, ProviderError> {
        self.call(self.pace.provider.get_acs_system(acs_system_id)).await
    }

    async fn list_events(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ListedEvent>, ProviderError> {
        self.call(self.pace.provider.list_events(since, until)).await
    }

    async fn find_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<Option<String>, ProviderError> {
        let call = self.pace.provider.find_enrollment_automation(user_identity_id, credential_manager_acs_system_id);
        self.call(call).await
    }

    async fn launch_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<String, ProviderError> {
        let call = self.pace.provider.launch_enrollment_automation(user_identity_id, credential_manager_acs_system_id);
        self.call(call).await
    }
}
