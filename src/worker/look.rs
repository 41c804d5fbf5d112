//! Reading where a credential and its phones' keys stand, and taking that over: the only source of `issued`.

use jiff::Timestamp;

use super::Hand;
use super::classify::Trouble;
use super::ensure::filter;
use crate::domain::issuance::{Seen, SeenKey, changed_keys};
use crate::domain::{Entry, Issuance, KeyStatus, Kind, Phone, PhoneKey, Plan, Status};
use crate::provider::Credential;
use crate::store::Change;

impl Hand<'_> {
    /// Reads the plan's credential and its children at the provider and records what changed.
    ///
    /// `told`: the phone that an event tells of, active or not; it gets its key's row even if the provider shows no
    /// child for it yet.
    pub(super) async fn look(&self, plan: &Plan, issuance: &Issuance, told: Option<&Phone>) -> Result<(), Trouble> {
        let Some(id) = &issuance.acs_credential_id else { return Ok(()) };
        if matches!(issuance.status, Status::Revoked | Status::Ended) {
            return Ok(());
        }
        let listed = self.provider().list_credentials(&filter(plan, issuance)).await?;
        let parent = match listed.iter().find(|credential| credential.acs_credential_id == *id) {
            Some(parent) => Some(parent.clone()),
            // Not in the list may mean moved to another ACS user; only a 404 means gone.
            None => self.get(id).await?,
        };
        let known = self.store().phone_keys(&plan.key).await?;
        if plan.has_ended(self.now()) {
            // An end that was moved too late to be moved at the provider too: it takes none that has passed.
            if parent.is_some_and(|parent| outlives(&parent, plan)) {
                self.delete(id).await?;
            }
            return self.take_over(issuance, issuance.ended(), revoked(&known)).await;
        }
        let children = listed.iter().filter(|credential| credential.parent_acs_credential_id.as_ref() == Some(id));
        let shown = self.keys_shown(&known, children).await?;
        let seen = seen_of(parent.as_ref(), &shown);

        let after = issuance.seen(seen);
        let keys = if after.status == Status::Revoked {
            revoked(&known)
        } else {
            let phones = self.phones_that_count(plan, &known, told).await?;
            changed_keys(&plan.key, &known, &phones, &shown)
        };
        let is_awaited = after.status == Status::Created || waits(&known, &keys);
        let after = Issuance { overdue: after.overdue && is_awaited, ..after };
        let after = self.due_again(plan, after, is_awaited);
        self.take_over(issuance, after, keys).await
    }

    /// Ends an issuance whose time is over, and which the provider holds nothing of.
    pub(super) async fn end_without_credential(&self, issuance: &Issuance) -> Result<(), Trouble> {
        if matches!(issuance.status, Status::Revoked | Status::Ended) {
            return Ok(());
        }
        self.take_over(issuance, issuance.ended(), vec![]).await
    }

    pub(super) async fn get(&self, acs_credential_id: &str) -> Result<Option<Credential>, Trouble> {
        match self.provider().get_credential(acs_credential_id).await {
            Ok(credential) => Ok(Some(credential)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a credential, if it is still there.
    pub(super) async fn delete(&self, acs_credential_id: &str) -> Result<(), Trouble> {
        match self.provider().delete_credential(acs_credential_id).await {
            Err(error) if error.is_not_found() => Ok(()),
            deleted => Ok(deleted?),
        }
    }

    /// Which phone each child is on. Seam's credential does not say it, so a child that is new to us costs a call.
    async fn keys_shown(
        &self,
        known: &[PhoneKey],
        children: impl Iterator<Item = &Credential>,
    ) -> Result<Vec<SeenKey>, Trouble> {
        let mut shown = Vec::new();
        for child in children {
            let id = &child.acs_credential_id;
            let device_id = match known.iter().find(|key| key.acs_credential_id.as_ref() == Some(id)) {
                Some(key) => Some(key.device_id.clone()),
                None => match self.provider().phones_of_credential(id).await {
                    // Gone since it was listed: with its phone, most likely.
                    Err(error) if error.is_not_found() => None,
                    phones => phones?.into_iter().next().map(|phone| phone.device_id),
                },
            };
            // A child that is on no phone yet is nobody's key yet.
            let Some(device_id) = device_id else { continue };
            let seen = seen_of(Some(child), &[]);
            shown.push(SeenKey { device_id, acs_credential_id: id.clone(), issued_at: child.issued_at, seen });
        }
        Ok(shown)
    }

    /// The phones whose keys are to be told of: active ones, the one that the event tells of, and those that have a key
    /// already. A phone that was deactivated before this plan is none of its business.
    async fn phones_that_count(
        &self,
        plan: &Plan,
        known: &[PhoneKey],
        told: Option<&Phone>,
    ) -> Result<Vec<(String, bool)>, Trouble> {
        let phones = self.store().phones_of_person(&plan.spec.user_identity_id).await?;
        let counts = |phone: &Phone| {
            phone.is_active
                || told.is_some_and(|told| told.device_id == phone.device_id)
                || known.iter().any(|key| key.device_id == phone.device_id)
        };
        Ok(phones.into_iter().filter(counts).map(|phone| (phone.device_id, phone.is_active)).collect())
    }

    /// Records what differs; nothing, if nothing does.
    ///
    /// The issuance is written along even if only keys differ: its version is what makes two lookers, who saw the same
    /// thing at the same time, tell of it once.
    pub(super) async fn take_over(
        &self,
        before: &Issuance,
        after: Issuance,
        keys: Vec<PhoneKey>,
    ) -> Result<(), Trouble> {
        let mut change = Change::default();
        if !after.stands_like(before) {
            change.ledger.push(after.entry());
        } else if keys.is_empty() && after.overdue == before.overdue {
            return Ok(());
        }
        change.ledger.extend(keys.iter().map(|key| key_entry(key, &before.user_identity_id)));
        change.phone_keys = keys;
        change.issuances.push(after);
        self.commit(change).await
    }

    /// With the time of its next look, as far as it can be said when something has just changed.
    pub(super) fn due_again(&self, plan: &Plan, issuance: Issuance, is_awaited: bool) -> Issuance {
        let now = self.now();
        let changed = Issuance { changed_at: now, ..issuance };
        let look_at = self.worker.settings.rhythm.next_look(plan, &changed, is_awaited.then_some(now), now);
        Issuance { look_at, ..changed }
    }
}

/// Whether a credential opens doors beyond the plan's end.
fn outlives(credential: &Credential, plan: &Plan) -> bool {
    let planned = plan.spec.ends_at.map(Timestamp::as_millisecond);
    planned.is_some_and(|end| credential.ends_at.is_none_or(|theirs| theirs.as_millisecond() > end))
}

/// Whether a key is still not on its phone, once `changed` has been taken over.
fn waits(known: &[PhoneKey], changed: &[PhoneKey]) -> bool {
    let unchanged = known.iter().filter(|key| changed.iter().all(|other| other.device_id != key.device_id));
    unchanged.chain(changed).any(|key| key.status == KeyStatus::Waiting)
}

fn key_entry(key: &PhoneKey, user_identity_id: &str) -> Entry {
    Entry::new(Kind::PhoneKey(key.status))
        .plan(&key.plan_key)
        .person(user_identity_id)
        .device(&key.device_id)
        .credential(key.acs_credential_id.as_deref())
}

/// All keys of an issuance that is revoked.
pub(super) fn revoked(known: &[PhoneKey]) -> Vec<PhoneKey> {
    let live = known.iter().filter(|key| key.status != KeyStatus::Revoked);
    live.map(|key| PhoneKey { status: KeyStatus::Revoked, ..key.clone() }).collect()
}

fn seen_of(credential: Option<&Credential>, keys: &[SeenKey]) -> Seen {
    match credential {
        None => Seen::Gone,
        Some(credential) if !credential.is_usable => Seen::Unusable,
        // Whether a parent says `is_issued` differs between access systems; a key that is on a phone speaks for it.
        Some(credential) if credential.is_issued || keys.iter().any(|key| key.seen == Seen::Issued) => Seen::Issued,
        Some(_) => Seen::Waiting,
    }
}
