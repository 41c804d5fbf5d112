//! User identities: the people, and what happens to all that is theirs when they are deleted or merged.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::World;
use super::ids::{AcsSystemId, AcsUserId, DeviceId, UserIdentityId};
use super::refusal::Refusal;
use super::table::row;

/// How to reach a person; also how Seam recognises that two records are of one person.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub(crate) full_name: Option<String>,
    pub(crate) email_address: Option<String>,
    pub(crate) phone_number: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UserIdentity {
    pub(crate) user_identity_id: UserIdentityId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) user_identity_key: Option<String>,
    pub(crate) contact: Contact,
    pub(crate) acs_users: Vec<AcsUserId>,
    /// Phones that are not deactivated.
    pub(crate) phones: Vec<DeviceId>,
    pub(crate) merged_ids: Vec<UserIdentityId>,
    pub(crate) merged_keys: Vec<String>,
}
row!(UserIdentity, user_identity_id: UserIdentityId);

impl World {
    pub(crate) fn user_identity(&self, id: UserIdentityId) -> Result<&UserIdentity, Refusal> {
        let merged = || self.user_identities.live().find(|person| person.merged_ids.contains(&id));
        self.user_identities.get(id).or_else(merged).ok_or_else(no_user_identity)
    }

    pub(crate) fn user_identity_by_key(&self, key: &str) -> Result<&UserIdentity, Refusal> {
        self.user_identities
            .live()
            .find(|person| {
                person.user_identity_key.as_deref() == Some(key) || person.merged_keys.iter().any(|k| k == key)
            })
            .ok_or_else(no_user_identity)
    }

    /// Refuses a key, an e-mail address or a phone number that another person has.
    fn check_unique(
        &self,
        key: Option<&str>,
        contact: &Contact,
        except: Option<UserIdentityId>,
    ) -> Result<(), Refusal> {
        let taken = |field: &str| {
            Err(Refusal::Conflict {
                kind: "user_identity_already_exists",
                message: format!("A user identity with this {field} already exists"),
            })
        };
        for other in self.user_identities.live().filter(|other| Some(other.user_identity_id) != except) {
            if key.is_some() && other.user_identity_key.as_deref() == key {
                return taken("user_identity_key");
            }
            if contact.email_address.is_some() && other.contact.email_address == contact.email_address {
                return taken("email_address");
            }
            if contact.phone_number.is_some() && other.contact.phone_number == contact.phone_number {
                return taken("phone_number");
            }
        }
        Ok(())
    }

    /// Creates a person, and an ACS user for them in each of `systems`.
    pub(crate) fn create_user_identity(
        &mut self,
        key: Option<String>,
        contact: Contact,
        systems: &[AcsSystemId],
        now: Timestamp,
    ) -> Result<UserIdentityId, Refusal> {
        self.check_unique(key.as_deref(), &contact, None)?;
        for system in systems {
            self.acs_system(*system)?;
        }
        let user_identity_id = self.chance.id();
        self.user_identities.insert(UserIdentity {
            user_identity_id,
            created_at: now,
            deleted_at: None,
            user_identity_key: key,
            contact,
            acs_users: Vec::new(),
            phones: Vec::new(),
            merged_ids: Vec::new(),
            merged_keys: Vec::new(),
        });
        for system in systems {
            self.acs_user_for(user_identity_id, *system, now)?;
        }
        Ok(user_identity_id)
    }

    /// Deletes a person with all that hangs on them: phones, ACS users, credentials, sessions, grants, automations
    /// (Seam since 2025; before, one had to delete these first).
    pub(crate) fn delete_user_identity(&mut self, id: UserIdentityId, now: Timestamp) -> Result<(), Refusal> {
        let person = self.user_identity(id)?;
        let (id, users, phones) = (person.user_identity_id, person.acs_users.clone(), person.phones.clone());
        self.delete_what_hangs_on(id, now);
        for user in users {
            self.delete_acs_user(user, now)?;
        }
        for phone in phones {
            self.deactivate_phone(phone, now)?;
        }
        if let Some(person) = self.user_identities.get_mut(id) {
            person.deleted_at = Some(now);
        }
        Ok(())
    }

    pub(crate) fn update_user_identity(
        &mut self,
        id: UserIdentityId,
        change: impl FnOnce(&mut Option<String>, &mut Contact),
    ) -> Result<(), Refusal> {
        let person = self.user_identity(id)?;
        let (id, mut key, mut contact) =
            (person.user_identity_id, person.user_identity_key.clone(), person.contact.clone());
        change(&mut key, &mut contact);
        self.check_unique(key.as_deref(), &contact, Some(id))?;
        let person = self.user_identities.get_mut(id).ok_or_else(no_user_identity)?;
        person.user_identity_key = key;
        person.contact = contact;
        Ok(())
    }

    /// Whether a person has an ACS user in a system.
    pub(crate) fn is_user_of(&self, person: &UserIdentity, system: AcsSystemId) -> bool {
        self.acs_user_of(person.user_identity_id, system).is_some()
    }

    /// Makes `other` the same person as `into`: ACS users and phones move over, and `other`'s id and key find `into`.
    /// Where both have an ACS user in one system, the other's is unlinked and stays in its system.
    pub(crate) fn merge_user_identity(
        &mut self,
        into: UserIdentityId,
        other: UserIdentityId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let other = self.user_identity(other)?.clone();
        for user in &other.acs_users {
            let system = self.acs_user(*user)?.acs_system_id;
            self.unlink(*user)?;
            if self.acs_user_of(into, system).is_none() {
                self.link(into, *user, now)?;
            }
        }
        for phone in &other.phones {
            if let Some(phone) = self.phones.get_mut(*phone) {
                phone.owner = into;
            }
        }
        if let Some(gone) = self.user_identities.get_mut(other.user_identity_id) {
            gone.deleted_at = Some(now);
        }
        let person = self.user_identities.get_mut(into).ok_or_else(no_user_identity)?;
        person.phones.extend(other.phones);
        person.merged_ids.push(other.user_identity_id);
        person.merged_ids.extend(other.merged_ids);
        person.merged_keys.extend(other.user_identity_key.into_iter().chain(other.merged_keys));
        self.bring_keys_to_phones(into, now);
        Ok(())
    }
}

fn no_user_identity() -> Refusal {
    Refusal::not_found("user_identity", "User identity")
}
