//! The world that the sandbox plays: people, phones, access systems and what they do to each other.
//!
//! Pure and seeded: no input, no output, no clock. Every transition takes `now`, draws its ids from the world's own
//! [`Chance`], and leaves what happened in [`World::take_news`]. What comes about by time alone stands in the agenda, and
//! [`World::advance`] does it. The same seed and the same calls at the same times give the same world.

pub(crate) mod access;
pub(crate) mod acs_user;
pub(crate) mod agenda;
pub(crate) mod credential;
pub(crate) mod event;
pub(crate) mod event_types;
pub(crate) mod family;
pub(crate) mod ids;
mod keys;
pub(crate) mod moment;
pub(crate) mod people;
pub(crate) mod phone;
pub(crate) mod refusal;
pub(crate) mod rules;
mod seed;
pub(crate) mod session;
pub(crate) mod system;
pub(crate) mod table;
pub(crate) mod webhook;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use access::{AccessGrant, AccessMethod};
use acs_user::AcsUser;
use agenda::{Agenda, Due};
use credential::Credential;
use event::{About, Event, EventLog, EventType};
use ids::{AcsCredentialId, AcsSystemId, Chance, DeviceId, WorkspaceId};
use people::UserIdentity;
use phone::{EndpointState, Phone};
use rules::Rules;
use session::{ClientSession, EnrollmentAutomation, InstantKey};
use system::{AcsAccessGroup, AcsEntrance, AcsSystem};
use table::Table;
use webhook::Webhook;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct World {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) created_at: Timestamp,
    pub(crate) rules: Rules,
    pub(crate) chance: Chance,
    pub(crate) systems: Table<AcsSystem>,
    pub(crate) entrances: Table<AcsEntrance>,
    pub(crate) access_groups: Table<AcsAccessGroup>,
    pub(crate) user_identities: Table<UserIdentity>,
    pub(crate) acs_users: Table<AcsUser>,
    pub(crate) phones: Table<Phone>,
    pub(crate) credentials: Table<Credential>,
    pub(crate) enrollment_automations: Table<EnrollmentAutomation>,
    pub(crate) client_sessions: Table<ClientSession>,
    pub(crate) instant_keys: Table<InstantKey>,
    pub(crate) access_grants: Table<AccessGrant>,
    pub(crate) access_methods: Table<AccessMethod>,
    pub(crate) webhooks: Table<Webhook>,
    pub(crate) events: EventLog,
    agenda: Agenda,
    /// What happened since somebody last asked.
    #[serde(skip)]
    news: Vec<News>,
}

/// Something that happened and that somebody outside may have to be told.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Told to the webhooks.
    Event(Arc<Event>),
    /// Told by the customer's backend and by HID Origo, not by Seam.
    Phone(PhoneNews),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum PhoneNews {
    /// A phone's endpoints reached a state.
    Endpoint { device: DeviceId, state: EndpointState, at: Timestamp },
    /// A key arrived on a phone.
    Key { device: DeviceId, credential: AcsCredentialId, at: Timestamp },
}

impl World {
    /// The seeded world at its beginning.
    pub(crate) fn new(seed: u64, rules: Rules, now: Timestamp) -> Self {
        let mut chance = Chance::new(seed);
        let mut world = Self {
            workspace_id: chance.id(),
            created_at: now,
            rules,
            chance,
            systems: Table::default(),
            entrances: Table::default(),
            access_groups: Table::default(),
            user_identities: Table::default(),
            acs_users: Table::default(),
            phones: Table::default(),
            credentials: Table::default(),
            enrollment_automations: Table::default(),
            client_sessions: Table::default(),
            instant_keys: Table::default(),
            access_grants: Table::default(),
            access_methods: Table::default(),
            webhooks: Table::default(),
            events: EventLog::default(),
            agenda: Agenda::default(),
            news: Vec::new(),
        };
        seed::furnish(&mut world, now);
        world
    }

    /// Begins again from the seed, with the rules as they are.
    pub(crate) fn reset(&mut self, now: Timestamp) {
        *self = Self::new(self.chance.seed(), self.rules.clone(), now);
    }

    /// Does everything whose time has come, each at its own time and in order.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        while let Some((at, due)) = self.agenda.take_due(now) {
            match due {
                Due::PhoneStep(phone) => self.step_phone(phone, at),
                Due::Issue(credential) => self.issue(credential, at),
                Due::Reissue(credential) => self.reissue(credential, at),
                Due::Expire(credential, ends_at) => self.expire(credential, ends_at, at),
                Due::Remove(credential) => self.remove_credential(credential, at),
                Due::UserCreated(user) => self.acs_user_arrived(user, at),
                Due::Provision(grant) => self.provision(grant, at),
            }
        }
    }

    /// When [`World::advance`] next has something to do.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.agenda.next_at()
    }

    /// What happened since the last call, in order.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    pub(super) fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    fn emit(&mut self, event_type: EventType, about: About, now: Timestamp) {
        let event = Arc::new(Event::new(self.chance.id(), event_type, self.workspace_id, now, about));
        self.events.push(Arc::clone(&event));
        self.tell(News::Event(event));
    }

    fn about_system(&self, system: Option<AcsSystemId>) -> About {
        let system = system.and_then(|id| self.systems.at(id));
        About {
            acs_system_id: system.map(|system| system.acs_system_id),
            connected_account_id: system.map(|system| system.connected_account_id),
            ..About::default()
        }
    }
}
