//! What workers look up for each event. Many look at the same time: those who look for the same kind of thing share a
//! statement.

use std::collections::HashMap;
use std::hash::Hash;

use super::rows::{self, PLAN_AND_ISSUANCE, plan_and_issuance};
use super::sql::{Row, Value};
use super::together::Together;
use super::{Store, StoreError};
use crate::domain::{Issuance, Phone, PhoneKey, Plan};

type Shared<T> = Together<String, Vec<T>>;
type Plans = Vec<(Plan, Issuance)>;

/// Who waits for what.
#[derive(Default)]
pub(super) struct Lookups {
    of_person: Shared<(Plan, Issuance)>,
    of_credential: Shared<(Plan, Issuance)>,
    of_phone: Shared<(Plan, Issuance)>,
    of_acs_user: Shared<(Plan, Issuance)>,
    of_enrollment: Shared<(Plan, Issuance)>,
    keys: Shared<PhoneKey>,
    phones: Shared<Phone>,
}

impl Store {
    /// All plans of a person, whatever became of them.
    pub async fn plans_of_person(&self, user_identity_id: &str) -> Result<Plans, StoreError> {
        let asked = "SELECT user_identity_id AS asked, plan_key FROM issuances WHERE user_identity_id {among}";
        self.plans(&self.lookups.of_person, user_identity_id, asked).await
    }

    /// The plan whose credential this is, whether it is the parent or a child on a phone.
    pub async fn plans_of_credential(&self, acs_credential_id: &str) -> Result<Plans, StoreError> {
        let asked = "SELECT acs_credential_id AS asked, plan_key FROM issuances WHERE acs_credential_id {among} \
                     UNION SELECT acs_credential_id, plan_key FROM phone_keys WHERE acs_credential_id {among}";
        self.plans(&self.lookups.of_credential, acs_credential_id, asked).await
    }

    /// The plans whose key this phone has, or waits for.
    pub async fn plans_of_phone(&self, device_id: &str) -> Result<Plans, StoreError> {
        let asked = "SELECT device_id AS asked, plan_key FROM phone_keys WHERE device_id {among}";
        self.plans(&self.lookups.of_phone, device_id, asked).await
    }

    pub async fn plans_of_acs_user(&self, acs_user_id: &str) -> Result<Plans, StoreError> {
        let asked = "SELECT acs_user_id AS asked, plan_key FROM issuances WHERE acs_user_id {among}";
        self.plans(&self.lookups.of_acs_user, acs_user_id, asked).await
    }

    pub async fn plans_of_enrollment(&self, enrollment_automation_id: &str) -> Result<Plans, StoreError> {
        let asked = "SELECT enrollment_automation_id AS asked, plan_key FROM issuances \
                     WHERE enrollment_automation_id {among}";
        self.plans(&self.lookups.of_enrollment, enrollment_automation_id, asked).await
    }

    pub async fn phones_of_person(&self, user_identity_id: &str) -> Result<Vec<Phone>, StoreError> {
        let sql = "SELECT device_id, user_identity_id, device_type, is_active, user_identity_id AS asked FROM phones \
                   WHERE user_identity_id {among} ORDER BY device_id";
        self.look_up(&self.lookups.phones, user_identity_id, sql, rows::phone).await
    }

    pub async fn phone_keys(&self, plan_key: &str) -> Result<Vec<PhoneKey>, StoreError> {
        let sql = "SELECT plan_key, device_id, status, acs_credential_id, issued_at, plan_key AS asked \
                   FROM phone_keys WHERE plan_key {among} ORDER BY device_id";
        self.look_up(&self.lookups.keys, plan_key, sql, rows::phone_key).await
    }

    /// `asked`: the keys of the plans that belong to what was asked for.
    async fn plans(&self, shared: &Shared<(Plan, Issuance)>, id: &str, asked: &str) -> Result<Plans, StoreError> {
        let sql = format!(
            "WITH asked AS ({asked}) SELECT asked.asked, {PLAN_AND_ISSUANCE} \
             JOIN asked ON asked.plan_key = issuances.plan_key ORDER BY issuances.plan_key"
        );
        self.look_up(shared, id, &sql, plan_and_issuance).await
    }

    /// What belongs to `id`, in the statement's order. `{among}` in it stands for the condition on all that is asked for,
    /// and its column `asked` says what a row belongs to.
    async fn look_up<T: Clone + Send>(
        &self,
        shared: &Shared<T>,
        id: &str,
        sql: &str,
        read: impl Fn(&Row) -> Result<T, StoreError> + Copy + Send,
    ) -> Result<Vec<T>, StoreError> {
        let sql = sql.replace("{among}", &self.db.among(1));
        let ask = |ids: Vec<String>| {
            let sql = sql.as_str();
            async move {
                let values = [ids.iter().cloned().collect::<Value>()];
                let found = grouped(&self.db.fetch(sql, values).await?, |row| Ok((row.text("asked")?, read(row)?)))?;
                Ok(ids.iter().map(|id| found.get(id).cloned().unwrap_or_default()).collect())
            }
        };
        shared.ask(id.to_owned(), ask).await
    }
}

fn grouped<K: Eq + Hash, T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<(K, T), StoreError>,
) -> Result<HashMap<K, Vec<T>>, StoreError> {
    let mut groups: HashMap<K, Vec<T>> = HashMap::new();
    for row in rows {
        let (key, value) = read(row)?;
        groups.entry(key).or_default().push(value);
    }
    Ok(groups)
}
