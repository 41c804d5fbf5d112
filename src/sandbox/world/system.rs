//! Access systems, their entrances and access groups: what is there before any person comes.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::World;
use super::acs_user::AcsUser;
use super::credential::Credential;
use super::family::{self, Family};
use super::ids::{AcsAccessGroupId, AcsEntranceId, AcsSystemId, ConnectedAccountId};
use super::refusal::Refusal;
use super::table::row;

/// A system of locks, or a credential manager that brings keys to phones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AcsSystem {
    pub(crate) acs_system_id: AcsSystemId,
    pub(crate) connected_account_id: ConnectedAccountId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) name: String,
    /// Seam's `external_type`; names the [`Family`].
    pub(crate) external_type: String,
    pub(crate) time_zone: String,
    pub(crate) default_credential_manager: Option<AcsSystemId>,
}
row!(AcsSystem, acs_system_id: AcsSystemId);

impl AcsSystem {
    pub(crate) fn family(&self) -> &'static dyn Family {
        family::of(&self.external_type)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AcsEntrance {
    pub(crate) acs_entrance_id: AcsEntranceId,
    pub(crate) acs_system_id: AcsSystemId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) display_name: String,
    /// The family's own words about the door, under the family's own key.
    pub(crate) metadata: Value,
}
row!(AcsEntrance, acs_entrance_id: AcsEntranceId);

/// Doors that belong together, and with them the people who may pass. Salto KS and HID Origo systems grant by these.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AcsAccessGroup {
    pub(crate) acs_access_group_id: AcsAccessGroupId,
    pub(crate) acs_system_id: AcsSystemId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) name: String,
    pub(crate) entrances: Vec<AcsEntranceId>,
}
row!(AcsAccessGroup, acs_access_group_id: AcsAccessGroupId);

impl World {
    pub(crate) fn acs_system(&self, id: AcsSystemId) -> Result<&AcsSystem, Refusal> {
        self.systems.get(id).ok_or_else(|| Refusal::not_found("acs_system", "Access control system"))
    }

    pub(crate) fn acs_entrance(&self, id: AcsEntranceId) -> Result<&AcsEntrance, Refusal> {
        self.entrances.get(id).ok_or_else(|| Refusal::not_found("acs_entrance", "Entrance"))
    }

    pub(crate) fn acs_access_group(&self, id: AcsAccessGroupId) -> Result<&AcsAccessGroup, Refusal> {
        self.access_groups.get(id).ok_or_else(|| Refusal::not_found("acs_access_group", "Access group"))
    }

    /// The doors that a credential opens: its own, those of its user's access groups, and those granted to the user.
    pub(crate) fn doors_of_credential(&self, credential: &Credential) -> Vec<&AcsEntrance> {
        let user = credential.acs_user_id.and_then(|user| self.acs_users.get(user));
        let of_user = user.into_iter().flat_map(|user| self.doors_of_user(user));
        self.each_once(credential.entrances.iter().copied().chain(of_user))
    }

    /// The doors that an ACS user may pass without any credential's own: by access group and by grant.
    fn doors_of_user<'a>(&'a self, user: &'a AcsUser) -> impl Iterator<Item = AcsEntranceId> + 'a {
        let groups = user.access_groups.iter().filter_map(|group| self.access_groups.get(*group));
        groups.flat_map(|group| &group.entrances).chain(&user.granted_entrances).copied()
    }

    /// The doors that an ACS user may pass by anything they have.
    pub(crate) fn doors_of_acs_user(&self, user: &AcsUser) -> Vec<&AcsEntrance> {
        let credentials = user.credentials.iter().filter_map(|id| self.credentials.get(*id));
        let own = credentials.filter(|row| row.is_alive()).flat_map(|row| row.entrances.iter().copied());
        self.each_once(own.chain(self.doors_of_user(user)))
    }

    fn each_once(&self, ids: impl Iterator<Item = AcsEntranceId>) -> Vec<&AcsEntrance> {
        let mut seen = HashSet::new();
        ids.filter(|id| seen.insert(*id)).filter_map(|id| self.entrances.get(id)).collect()
    }

    /// The credential managers that can bring this system's keys to phones.
    pub(crate) fn compatible_managers(&self, system: &AcsSystem) -> Vec<&AcsSystem> {
        let managers = system.family().credential_managers();
        self.systems.live().filter(|other| managers.contains(&other.external_type.as_str())).collect()
    }
}
