//! What will happen by itself, and when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{AccessGrantId, AcsCredentialId, AcsUserId, DeviceId};

/// Something that comes about by the passing of time alone.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Due {
    /// The phone reaches the next state of its endpoints.
    PhoneStep(DeviceId),
    /// The credential arrives at the access system, or on its phone.
    Issue(AcsCredentialId),
    /// A changed credential arrives there again.
    Reissue(AcsCredentialId),
    /// The credential's `ends_at`, as it was when this was noted; a later change makes this entry void.
    Expire(AcsCredentialId, Timestamp),
    /// A credential that is being deleted is gone.
    Remove(AcsCredentialId),
    /// The user exists at the access system.
    UserCreated(AcsUserId),
    /// The access grant's access methods are made.
    Provision(AccessGrantId),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Timestamp, Due)>", into = "Vec<(Timestamp, Due)>")]
pub(crate) struct Agenda {
    /// By time, then by the order of noting.
    entries: BTreeMap<(Timestamp, u64), Due>,
    noted: u64,
}

impl From<Vec<(Timestamp, Due)>> for Agenda {
    fn from(entries: Vec<(Timestamp, Due)>) -> Self {
        let mut agenda = Self::default();
        for (at, due) in entries {
            agenda.note(at, due);
        }
        agenda
    }
}

impl From<Agenda> for Vec<(Timestamp, Due)> {
    fn from(agenda: Agenda) -> Self {
        agenda.entries.into_iter().map(|((at, _), due)| (at, due)).collect()
    }
}

impl Agenda {
    pub(crate) fn note(&mut self, at: Timestamp, due: Due) {
        self.noted += 1;
        self.entries.insert((at, self.noted), due);
    }

    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.entries.keys().next().map(|(at, _)| *at)
    }

    /// Takes the earliest entry, if its time has come.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        let at = entry.key().0;
        Some((at, entry.remove()))
    }
}
