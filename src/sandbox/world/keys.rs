//! The life of a credential after its making: keys come to phones, are issued, change, lapse and go.
//!
//! Decided here, because Seam's documents are silent:
//! - `acs_credential.issued` is emitted once for each child, and once for the parent, with its first child
//!   ([`IssuedEvents`] turns either off);
//! - deleting a parent emits one `acs_credential.deleted` for each child and one for itself, children first;
//! - a changed `ends_at` holds for the children as well, and each is reissued;
//! - at `ends_at` a credential is invalidated, not deleted: it can still be read, and opens nothing.

use jiff::Timestamp;

use super::agenda::Due;
use super::credential::{Credential, check_times};
use super::event::{About, EventType};
use super::ids::{AcsCredentialId, AcsUserId, DeviceId, UserIdentityId};
use super::refusal::Refusal;
use super::rules::IssuedEvents;
use super::{News, PhoneNews, World};
use crate::clock::add;

impl World {
    /// Sees to it that each of a person's active phones has, or is about to get, each of the person's keys.
    pub(super) fn bring_keys_to_phones(&mut self, person: UserIdentityId, now: Timestamp) {
        let phones = self.active_phones(person);
        if phones.is_empty() {
            return;
        }
        let keys: Vec<AcsCredentialId> = self
            .credentials_of_person(person)
            .filter(|key| key.is_mobile_key() && key.parent.is_none() && key.is_alive())
            .map(|key| key.acs_credential_id)
            .collect();
        for key in keys {
            let is_multi_phone_sync = self.credentials.get(key).is_some_and(|key| key.is_multi_phone_sync);
            if is_multi_phone_sync {
                for phone in &phones {
                    self.ensure_child(key, *phone, now);
                }
            } else if let Some(newest) = phones.last() {
                self.put_on_phone(key, *newest, now);
            }
        }
    }

    /// Makes the child of `parent` for `phone`, unless there is one.
    fn ensure_child(&mut self, parent: AcsCredentialId, phone: DeviceId, now: Timestamp) {
        let Some(row) = self.credentials.get(parent) else { return };
        let has_child =
            |id: &AcsCredentialId| self.credentials.get(*id).is_some_and(|child| child.device_id == Some(phone));
        if row.children.iter().any(has_child) {
            return;
        }
        let mut child = Credential {
            acs_credential_id: AcsCredentialId::default(),
            created_at: now,
            is_multi_phone_sync: false,
            parent: Some(parent),
            children: Vec::new(),
            device_id: Some(phone),
            issued_at: None,
            synced_at: None,
            ..row.clone()
        };
        let doors = row.entrances.iter().filter_map(|id| self.entrances.at(*id)).map(|door| door.display_name.as_str());
        let doors: Vec<&str> = doors.collect();
        if !doors.is_empty() {
            child.display_name = doors.join(", ");
        }
        child.acs_credential_id = self.chance.id();
        let id = self.insert_credential(child);
        if let Some(parent) = self.credentials.get_mut(parent) {
            parent.children.push(id);
        }
        self.issue_soon(id, now);
    }

    /// A mobile key for a single phone goes to the newest active one, once.
    fn put_on_phone(&mut self, key: AcsCredentialId, phone: DeviceId, now: Timestamp) {
        let Some(row) = self.credentials.get_mut(key) else { return };
        if row.device_id.is_none() {
            row.device_id = Some(phone);
            self.issue_soon(key, now);
        }
    }

    /// Notes when a credential will be issued: after its delay, and not before its family lets it.
    pub(super) fn issue_soon(&mut self, id: AcsCredentialId, now: Timestamp) {
        let soon = add(now, self.rules.pace(self.rules.credential_issued_ms));
        let Some(credential) = self.credentials.get(id) else { return };
        let not_before = self.family_of(credential).issued_not_before(self, credential);
        self.agenda.note(not_before.map_or(soon, |at| at.max(soon)), Due::Issue(id));
    }

    pub(super) fn issue(&mut self, id: AcsCredentialId, now: Timestamp) {
        let Some(mut key) = self.credentials.get(id).filter(|key| key.is_alive() && key.issued_at.is_none()).cloned()
        else {
            return;
        };
        let family = self.family_of(&key);
        family.issued(&mut self.chance, &mut key);
        key.issued_at = Some(now);
        key.synced_at = Some(now);
        let (parent, device, method) = (key.parent, key.device_id, key.access_method_id);
        self.replace(key);
        if parent.is_none() || self.rules.issued_events != IssuedEvents::ParentOnly {
            self.emit_credential(EventType::CredentialIssued, id, now);
        }
        if let Some(device) = device {
            self.tell(News::Phone(PhoneNews::Key { device, credential: id, at: now }));
        }
        if let Some(parent) = parent {
            self.first_child_issued(parent, now);
        }
        if let Some(method) = method {
            self.access_method_issued(method, now);
        }
    }

    /// A parent counts as issued with its first issued child.
    fn first_child_issued(&mut self, parent: AcsCredentialId, now: Timestamp) {
        let Some(row) = self.credentials.get_mut(parent).filter(|row| row.issued_at.is_none()) else { return };
        row.issued_at = Some(now);
        row.synced_at = Some(now);
        if self.rules.issued_events != IssuedEvents::ChildrenOnly {
            self.emit_credential(EventType::CredentialIssued, parent, now);
        }
    }

    /// Changes what Seam lets one change: the code and the end (`/acs/credentials/update`).
    pub(crate) fn update_credential(
        &mut self,
        id: AcsCredentialId,
        code: Option<&str>,
        ends_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let row = self.credential(id)?;
        check_times(row.starts_at, ends_at, now)?;
        let family = row.children.clone();
        for id in std::iter::once(id).chain(family) {
            let Some(row) = self.credentials.get_mut(id) else { continue };
            row.code = code.map(str::to_owned).or(row.code.take());
            if let Some(ends_at) = ends_at {
                row.ends_at = Some(ends_at);
                self.agenda.note(ends_at, Due::Expire(id, ends_at));
            }
            if row.issued_at.is_some() {
                row.synced_at = None;
                self.agenda.note(add(now, self.rules.pace(self.rules.credential_issued_ms)), Due::Reissue(id));
            }
        }
        Ok(())
    }

    pub(super) fn reissue(&mut self, id: AcsCredentialId, now: Timestamp) {
        let Some(row) = self.credentials.get_mut(id).filter(|row| row.is_alive() && row.synced_at.is_none()) else {
            return;
        };
        row.synced_at = Some(now);
        self.emit_credential(EventType::CredentialReissued, id, now);
    }

    /// Gives a credential to a user of its system, or takes it from them: the keys on the former person's phones go.
    pub(crate) fn assign_credential(
        &mut self,
        id: AcsCredentialId,
        user: Option<AcsUserId>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let row = self.credential(id)?;
        if let Some(user) = user
            && self.acs_user(user)?.acs_system_id != row.acs_system_id
        {
            return Err(Refusal::field("acs_user_id", "ACS user belongs to another access system"));
        }
        if row.acs_user_id == user {
            return Ok(());
        }
        for child in row.children.clone() {
            self.remove_credential(child, now);
        }
        let Some(row) = self.credentials.get_mut(id) else { return Ok(()) };
        let former = std::mem::replace(&mut row.acs_user_id, user);
        if row.is_mobile_key() {
            row.device_id = None;
            row.issued_at = None;
            row.synced_at = None;
        }
        if let Some(former) = former.and_then(|former| self.acs_users.get_mut(former)) {
            former.credentials.retain(|other| *other != id);
        }
        if let Some(user) = user.and_then(|user| self.acs_users.get_mut(user)) {
            user.credentials.push(id);
            if let Some(person) = user.user_identity_id {
                self.bring_keys_to_phones(person, now);
            }
        }
        Ok(())
    }

    pub(super) fn expire(&mut self, id: AcsCredentialId, ends_at: Timestamp, now: Timestamp) {
        if self.credentials.get(id).is_some_and(|row| row.ends_at == Some(ends_at)) {
            self.invalidate(id, now);
        }
    }

    /// Ends what a credential opens, and what its children open, without deleting it.
    pub(super) fn invalidate(&mut self, id: AcsCredentialId, now: Timestamp) {
        let Some(mut row) = self.credentials.get(id).filter(|row| row.invalidated_at.is_none()).cloned() else {
            return;
        };
        row.invalidated_at = Some(now);
        self.family_of(&row).invalidated(&mut row);
        let children = row.children.clone();
        self.replace(row);
        for child in children {
            self.invalidate(child, now);
        }
        self.emit_credential(EventType::CredentialInvalidated, id, now);
    }

    /// Begins the end of a credential and its children; with no delay in the rules it is over at once.
    pub(crate) fn delete_credential(&mut self, id: AcsCredentialId, now: Timestamp) -> Result<(), Refusal> {
        let children = self.credential(id)?.children.clone();
        let delay = self.rules.credential_deletion_ms;
        if delay == 0 {
            self.remove_credential(id, now);
            return Ok(());
        }
        for id in children.into_iter().chain([id]) {
            if let Some(row) = self.credentials.get_mut(id) {
                row.being_deleted_since.get_or_insert(now);
            }
        }
        self.agenda.note(add(now, self.rules.pace(delay)), Due::Remove(id));
        Ok(())
    }

    /// Deletes a credential, its children before it.
    pub(super) fn remove_credential(&mut self, id: AcsCredentialId, now: Timestamp) {
        let Some(row) = self.credentials.get(id) else { return };
        let (parent, user) = (row.parent, row.acs_user_id);
        for child in row.children.clone() {
            self.remove_credential(child, now);
        }
        self.emit_credential(EventType::CredentialDeleted, id, now);
        if let Some(row) = self.credentials.get_mut(id) {
            row.deleted_at = Some(now);
        }
        if let Some(parent) = parent.and_then(|parent| self.credentials.get_mut(parent)) {
            parent.children.retain(|child| *child != id);
        }
        if let Some(user) = user.and_then(|user| self.acs_users.get_mut(user)) {
            user.credentials.retain(|other| *other != id);
        }
    }

    fn replace(&mut self, row: Credential) {
        if let Some(place) = self.credentials.get_mut(row.acs_credential_id) {
            *place = row;
        }
    }

    fn emit_credential(&mut self, event_type: EventType, id: AcsCredentialId, now: Timestamp) {
        let system = self.credentials.at(id).map(|row| row.acs_system_id);
        let about = About { acs_credential_id: Some(id), ..self.about_system(system) };
        self.emit(event_type, about, now);
    }
}
