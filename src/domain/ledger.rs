//! The ledger's words: one line per state change, written in the transaction that made it.

/// What kind of change a line tells of. The names are part of the outside: people filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    EventReceived,
    EventDone,
    EventIgnored,
    EventRetry,
    EventParked,
    EventReleased,
    EventDiscarded,
    PlanPut,
    PlanDeleted,
    Issuance(super::Status),
    IssuanceOverdue,
    PhoneKey(super::KeyStatus),
    PhoneRegistered,
    PhoneDeactivated,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        use super::{KeyStatus, Status};
        match self {
            Self::EventReceived => "event.received",
            Self::EventDone => "event.done",
            Self::EventIgnored => "event.ignored",
            Self::EventRetry => "event.retry",
            Self::EventParked => "event.parked",
            Self::EventReleased => "event.released",
            Self::EventDiscarded => "event.discarded",
            Self::PlanPut => "plan.put",
            Self::PlanDeleted => "plan.deleted",
            Self::Issuance(Status::Planned) => "issuance.planned",
            Self::Issuance(Status::Creating) => "issuance.creating",
            Self::Issuance(Status::Created) => "issuance.created",
            Self::Issuance(Status::Issued) => "issuance.issued",
            Self::Issuance(Status::Unknown) => "issuance.unknown",
            Self::Issuance(Status::Failed) => "issuance.failed",
            Self::Issuance(Status::Revoked) => "issuance.revoked",
            Self::Issuance(Status::Ended) => "issuance.ended",
            Self::IssuanceOverdue => "issuance.overdue",
            Self::PhoneKey(KeyStatus::Waiting) => "phone_key.waiting",
            Self::PhoneKey(KeyStatus::Issued) => "phone_key.issued",
            Self::PhoneKey(KeyStatus::Revoked) => "phone_key.revoked",
            Self::PhoneRegistered => "phone.registered",
            Self::PhoneDeactivated => "phone.deactivated",
        }
    }
}

/// A line before it has its number and its time: the store gives both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub plan_key: Option<String>,
    pub user_identity_id: Option<String>,
    pub device_id: Option<String>,
    pub acs_credential_id: Option<String>,
    pub why: Option<String>,
}

impl Entry {
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            source: None,
            event_type: None,
            event_id: None,
            plan_key: None,
            user_identity_id: None,
            device_id: None,
            acs_credential_id: None,
            why: None,
        }
    }

    /// A line about an event.
    #[must_use]
    pub fn of_event(kind: Kind, source: &str, event_type: &str, event_id: &str) -> Self {
        Self {
            source: Some(source.to_owned()),
            event_type: Some(event_type.to_owned()),
            event_id: Some(event_id.to_owned()),
            ..Self::new(kind)
        }
    }

    #[must_use]
    pub fn plan(mut self, plan_key: &str) -> Self {
        self.plan_key = Some(plan_key.to_owned());
        self
    }

    #[must_use]
    pub fn person(mut self, user_identity_id: &str) -> Self {
        self.user_identity_id = Some(user_identity_id.to_owned());
        self
    }

    #[must_use]
    pub fn device(mut self, device_id: &str) -> Self {
        self.device_id = Some(device_id.to_owned());
        self
    }

    #[must_use]
    pub fn credential(mut self, acs_credential_id: Option<&str>) -> Self {
        self.acs_credential_id = acs_credential_id.map(str::to_owned);
        self
    }

    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }
}
