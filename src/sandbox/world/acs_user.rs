//! ACS users: what stands for a person in one access system.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::World;
use super::agenda::Due;
use super::event::{About, EventType};
use super::ids::{AcsAccessGroupId, AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, UserIdentityId};
use super::people::Contact;
use super::refusal::Refusal;
use super::table::row;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct AccessSchedule {
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AcsUser {
    pub(crate) acs_user_id: AcsUserId,
    pub(crate) acs_system_id: AcsSystemId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) contact: Contact,
    pub(crate) user_identity_id: Option<UserIdentityId>,
    pub(crate) access_schedule: Option<AccessSchedule>,
    pub(crate) access_groups: Vec<AcsAccessGroupId>,
    /// Doors granted to the user by `/acs/entrances/grant_access`.
    pub(crate) granted_entrances: Vec<AcsEntranceId>,
    pub(crate) is_suspended: bool,
    /// When the access system got to know the user; until then the mutation `creating` is pending.
    pub(crate) synced_at: Option<Timestamp>,
    /// Live credentials, children included.
    pub(crate) credentials: Vec<AcsCredentialId>,
}
row!(AcsUser, acs_user_id: AcsUserId);

/// What `/acs/users/create` says of the user to be.
#[derive(Debug, Default)]
pub(crate) struct AcsUserDraft {
    pub(crate) contact: Contact,
    pub(crate) user_identity_id: Option<UserIdentityId>,
    pub(crate) access_schedule: Option<AccessSchedule>,
    pub(crate) access_groups: Vec<AcsAccessGroupId>,
}

impl World {
    pub(crate) fn acs_user(&self, id: AcsUserId) -> Result<&AcsUser, Refusal> {
        self.acs_users.get(id).ok_or_else(no_acs_user)
    }

    /// The ACS user of a person in a system.
    pub(crate) fn acs_user_of(&self, person: UserIdentityId, system: AcsSystemId) -> Option<&AcsUser> {
        let person = self.user_identity(person).ok()?;
        person.acs_users.iter().filter_map(|id| self.acs_users.get(*id)).find(|user| user.acs_system_id == system)
    }

    pub(crate) fn create_acs_user(
        &mut self,
        system: AcsSystemId,
        draft: AcsUserDraft,
        now: Timestamp,
    ) -> Result<AcsUserId, Refusal> {
        self.acs_system(system)?;
        for group in &draft.access_groups {
            if self.acs_access_group(*group)?.acs_system_id != system {
                return Err(Refusal::field("acs_access_group_ids", "Access group belongs to another access system"));
            }
        }
        let person = match draft.user_identity_id {
            Some(id) => Some(self.user_identity(id)?.user_identity_id),
            None => None,
        };
        let acs_user_id = self.chance.id();
        let user = AcsUser {
            acs_user_id,
            acs_system_id: system,
            created_at: now,
            deleted_at: None,
            user_identity_id: None,
            access_schedule: draft.access_schedule,
            access_groups: draft.access_groups,
            granted_entrances: Vec::new(),
            is_suspended: false,
            synced_at: None,
            credentials: Vec::new(),
            contact: draft.contact,
        };
        self.acs_users.insert(user);
        self.agenda
            .note(crate::clock::add(now, self.rules.pace(self.rules.user_created_ms)), Due::UserCreated(acs_user_id));
        if let Some(person) = person {
            self.link(person, acs_user_id, now)?;
        }
        Ok(acs_user_id)
    }

    /// The person's ACS user in a system; where there is none, an unlinked one with the same e-mail address or phone
    /// number is linked, or else a new one made (Seam, `/acs/credentials/create`: "creates or links").
    pub(crate) fn acs_user_for(
        &mut self,
        person: UserIdentityId,
        system: AcsSystemId,
        now: Timestamp,
    ) -> Result<AcsUserId, Refusal> {
        self.acs_system(system)?;
        if let Some(user) = self.acs_user_of(person, system) {
            return Ok(user.acs_user_id);
        }
        let contact = self.user_identity(person)?.contact.clone();
        let same = |user: &&AcsUser| {
            user.acs_system_id == system
                && user.user_identity_id.is_none()
                && (contact.email_address.is_some() && user.contact.email_address == contact.email_address
                    || contact.phone_number.is_some() && user.contact.phone_number == contact.phone_number)
        };
        let found = self.acs_users.live().find(same).map(|user| user.acs_user_id);
        if let Some(found) = found {
            self.link(person, found, now)?;
            return Ok(found);
        }
        self.create_acs_user(
            system,
            AcsUserDraft { contact, user_identity_id: Some(person), ..AcsUserDraft::default() },
            now,
        )
    }

    /// Makes an ACS user stand for a person. The person's phones get the keys that the user already has.
    pub(crate) fn link(&mut self, person: UserIdentityId, user: AcsUserId, now: Timestamp) -> Result<(), Refusal> {
        let person = self.user_identity(person)?.user_identity_id;
        let system = self.acs_user(user)?.acs_system_id;
        if self.acs_user_of(person, system).is_some_and(|other| other.acs_user_id != user) {
            return Err(Refusal::bad(
                "user_identity_already_has_acs_user",
                "The user identity already has an ACS user in this access system",
            ));
        }
        self.unlink(user)?;
        if let Some(row) = self.acs_users.get_mut(user) {
            row.user_identity_id = Some(person);
        }
        if let Some(row) = self.user_identities.get_mut(person) {
            row.acs_users.push(user);
        }
        self.bring_keys_to_phones(person, now);
        Ok(())
    }

    /// Makes an ACS user stand for nobody.
    pub(crate) fn unlink(&mut self, user: AcsUserId) -> Result<(), Refusal> {
        let row = self.acs_users.get_mut(user).ok_or_else(no_acs_user)?;
        if let Some(person) = row.user_identity_id.take()
            && let Some(person) = self.user_identities.get_mut(person)
        {
            person.acs_users.retain(|id| *id != user);
        }
        Ok(())
    }

    pub(super) fn acs_user_arrived(&mut self, id: AcsUserId, now: Timestamp) {
        let Some(user) = self.acs_users.get_mut(id) else { return };
        if user.synced_at.is_none() {
            user.synced_at = Some(now);
            let about = self.about_acs_user(id);
            self.emit(EventType::UserCreated, about, now);
        }
    }

    pub(crate) fn delete_acs_user(&mut self, id: AcsUserId, now: Timestamp) -> Result<(), Refusal> {
        let credentials = self.acs_user(id)?.credentials.clone();
        for credential in credentials {
            self.remove_credential(credential, now);
        }
        self.unlink(id)?;
        let about = self.about_acs_user(id);
        if let Some(user) = self.acs_users.get_mut(id) {
            user.deleted_at = Some(now);
        }
        self.emit(EventType::UserDeleted, about, now);
        Ok(())
    }

    /// Changes an ACS user in place.
    pub(crate) fn update_acs_user(&mut self, id: AcsUserId, change: impl FnOnce(&mut AcsUser)) -> Result<(), Refusal> {
        change(self.acs_users.get_mut(id).ok_or_else(no_acs_user)?);
        Ok(())
    }

    pub(crate) fn add_to_access_group(&mut self, user: AcsUserId, group: AcsAccessGroupId) -> Result<(), Refusal> {
        let system = self.acs_access_group(group)?.acs_system_id;
        if self.acs_user(user)?.acs_system_id != system {
            return Err(Refusal::field("acs_access_group_id", "Access group belongs to another access system"));
        }
        self.update_acs_user(user, |user| {
            if !user.access_groups.contains(&group) {
                user.access_groups.push(group);
            }
        })
    }

    /// Lets an ACS user through a door, whatever credentials they have.
    pub(crate) fn grant_entrance(&mut self, user: AcsUserId, door: AcsEntranceId) -> Result<(), Refusal> {
        let system = self.acs_entrance(door)?.acs_system_id;
        if self.acs_user(user)?.acs_system_id != system {
            return Err(Refusal::field("acs_user_id", "ACS user belongs to another access system"));
        }
        self.update_acs_user(user, |user| {
            if !user.granted_entrances.contains(&door) {
                user.granted_entrances.push(door);
            }
        })
    }

    fn about_acs_user(&self, id: AcsUserId) -> About {
        let system = self.acs_users.at(id).map(|user| user.acs_system_id);
        About { acs_user_id: Some(id), ..self.about_system(system) }
    }
}

fn no_acs_user() -> Refusal {
    Refusal::not_found("acs_user", "ACS user")
}
