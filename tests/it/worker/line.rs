//! The line to the provider: a real client, and what a test wants to go wrong on the way there or back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use keyferry::domain::Person;
use keyferry::provider::{
    AcsSystem, AcsUser, Credential, CredentialFilter, ListedEvent, NewCredential, Phone, Provider, ProviderError,
    SeamClient,
};
use tokio::sync::Notify;

use super::life::Life;

/// Where on the line something happens: the call has not been made, or it took effect and its answer is on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

enum Fault {
    Says(ProviderError),
    Waits(Gate),
}

/// Holds a call until it is opened.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<(Notify, Notify)>);

impl Gate {
    /// Resolves once a call stands before the gate.
    pub(super) async fn reached(&self) {
        self.0.0.notified().await;
    }

    pub(super) fn open(&self) {
        self.0.1.notify_one();
    }

    async fn pass(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }
}

/// One worker's line. Calls are named as [`Provider`] names them.
#[derive(Clone)]
pub(super) struct Line {
    client: Arc<SeamClient>,
    life: Life,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<&'static str>,
    faults: VecDeque<(Side, &'static str, Fault)>,
    /// What every call ends with, while the provider is away.
    outage: Option<ProviderError>,
    /// Whose phones cannot be listed.
    troubled: Option<String>,
}

impl Line {
    pub(super) fn new(client: Arc<SeamClient>, life: Life) -> Self {
        Self { client, life, state: Arc::default() }
    }

    /// The next call of this name (after those with faults ordered earlier) ends with `error`.
    pub(super) fn says(&self, side: Side, call: &'static str, error: ProviderError) {
        self.lock().faults.push_back((side, call, Fault::Says(error)));
    }

    /// The next call of this name waits at the gate.
    pub(super) fn waits(&self, side: Side, call: &'static str) -> Gate {
        let gate = Gate::default();
        self.lock().faults.push_back((side, call, Fault::Waits(gate.clone())));
        gate
    }

    /// Every call ends with `error`; or, with `None`, the provider is there again.
    pub(super) fn is_away(&self, error: Option<ProviderError>) {
        self.lock().outage = error;
    }

    /// Every call for this person's phones runs into its deadline.
    pub(super) fn is_in_trouble(&self, user_identity_id: &str) {
        self.lock().troubled = Some(user_identity_id.to_owned());
    }

    /// The names of the calls since the last look.
    pub(super) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Faults that were ordered and have not happened.
    pub(super) fn open_orders(&self) -> usize {
        self.lock().faults.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    async fn befall(&self, side: Side, call: &'static str) -> Result<(), ProviderError> {
        self.life.effect(&format!("{side:?} {call}"));
        let fault = {
            let faults = &mut self.lock().faults;
            // In order: what is ordered for a call's second time must not befall its first.
            let first = faults.iter().position(|(_, name, _)| *name == call);
            first.filter(|place| faults[*place].0 == side).and_then(|place| faults.remove(place))
        };
        match fault {
            None => Ok(()),
            Some((_, _, Fault::Says(error))) => Err(error),
            Some((_, _, Fault::Waits(gate))) => {
                gate.pass().await;
                Ok(())
            }
        }
    }

    async fn around<T>(
        &self,
        call: &'static str,
        doing: impl Future<Output = Result<T, ProviderError>> + Send,
    ) -> Result<T, ProviderError> {
        let outage = {
            let mut state = self.lock();
            state.calls.push(call);
            state.outage.clone()
        };
        if let Some(error) = outage {
            return Err(error);
        }
        self.befall(Side::Before, call).await?;
        let answer = doing.await;
        self.befall(Side::After, call).await?;
        answer
    }
}

#[async_trait]
impl Provider for Line {
    async fn create_credential(&self, new: &NewCredential) -> Result<Credential, ProviderError> {
        self.around("create_credential", self.client.create_credential(new)).await
    }

    async fn get_credential(&self, acs_credential_id: &str) -> Result<Credential, ProviderError> {
        self.around("get_credential", self.client.get_credential(acs_credential_id)).await
    }

    async fn list_credentials(&self, filter: &CredentialFilter) -> Result<Vec<Credential>, ProviderError> {
        self.around("list_credentials", self.client.list_credentials(filter)).await
    }

    async fn update_credential(&self, acs_credential_id: &str, ends_at: Timestamp) -> Result<(), ProviderError> {
        self.around("update_credential", self.client.update_credential(acs_credential_id, ends_at)).await
    }

    async fn delete_credential(&self, acs_credential_id: &str) -> Result<(), ProviderError> {
        self.around("delete_credential", self.client.delete_credential(acs_credential_id)).await
    }

    async fn entrances_of_credential(&self, acs_credential_id: &str) -> Result<Vec<String>, ProviderError> {
        self.around("entrances_of_credential", self.client.entrances_of_credential(acs_credential_id)).await
    }

    async fn entrances_of_system(&self, acs_system_id: &str) -> Result<Vec<String>, ProviderError> {
        self.around("entrances_of_system", self.client.entrances_of_system(acs_system_id)).await
    }

    async fn credentials_of_access_method(&self, access_method_id: &str) -> Result<Vec<Credential>, ProviderError> {
        self.around("credentials_of_access_method", self.client.credentials_of_access_method(access_method_id)).await
    }

    async fn phones_of_person(&self, user_identity_id: &str) -> Result<Vec<Phone>, ProviderError> {
        let is_in_trouble = self.lock().troubled.as_deref() == Some(user_identity_id);
        let listing = async {
            if is_in_trouble {
                let (call, why) = ("/phones/list", "no whole answer within 10000 ms".to_owned());
                return Err(ProviderError::Transient { call, why, retry_after: None });
            }
            self.client.phones_of_person(user_identity_id).await
        };
        self.around("phones_of_person", listing).await
    }

    async fn phones_of_credential(&self, acs_credential_id: &str) -> Result<Vec<Phone>, ProviderError> {
        self.around("phones_of_credential", self.client.phones_of_credential(acs_credential_id)).await
    }

    async fn get_phone(&self, device_id: &str) -> Result<Phone, ProviderError> {
        self.around("get_phone", self.client.get_phone(device_id)).await
    }

    async fn find_person(&self, person: &Person) -> Result<String, ProviderError> {
        self.around("find_person", self.client.find_person(person)).await
    }

    async fn get_acs_user(&self, acs_user_id: &str) -> Result<AcsUser, ProviderError> {
        self.around("get_acs_user", self.client.get_acs_user(acs_user_id)).await
    }

    async fn list_acs_users(&self, user_identity_id: &str, acs_system_id: &str) -> Result<Vec<AcsUser>, ProviderError> {
        self.around("list_acs_users", self.client.list_acs_users(user_identity_id, acs_system_id)).await
    }

    async fn get_acs_system(&self, acs_system_id: &str) -> Result<AcsSystem, ProviderError> {
        self.around("get_acs_system", self.client.get_acs_system(acs_system_id)).await
    }

    async fn list_events(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ListedEvent>, ProviderError> {
        self.around("list_events", self.client.list_events(since, until)).await
    }

    async fn find_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<Option<String>, ProviderError> {
        let doing = self.client.find_enrollment_automation(user_identity_id, credential_manager_acs_system_id);
        self.around("find_enrollment_automation", doing).await
    }

    async fn launch_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<String, ProviderError> {
        let doing = self.client.launch_enrollment_automation(user_identity_id, credential_manager_acs_system_id);
        self.around("launch_enrollment_automation", doing).await
    }
}
