//! The life of a plan's credential: a pure state machine.
//!
//! ```text
//! planned ─▶ creating ─▶ created ─▶ issued ─▶ ended
//!    ▲          │  ▲        ▲                    revoked  (from anywhere)
//!    └─ failed ◀┤  │        │
//!               └▶ unknown ─┘  only by asking the provider
//! ```
//!
//! Seam's API has no idempotency key. An intent is therefore committed before the call, and whoever finds an intent
//! without an outcome may neither create nor give up: after `settles_at`, it asks.

use jiff::Timestamp;

use super::ledger::{Entry, Kind};
use super::phone::{KeyStatus, PhoneKey};
use super::plan::Plan;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing has been asked of the provider yet.
    Planned,
    /// The call to create may be under way.
    Creating,
    /// The credential exists at the provider.
    Created,
    /// The provider's object says that a key is on a phone (or, without phones, that the credential is issued).
    Issued,
    /// A call to create was made and nobody knows how it ended.
    Unknown,
    /// The provider refused to create it.
    Failed,
    /// Cancelled, or no longer there or usable at the provider.
    Revoked,
    /// Its time is over.
    Ended,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Planned,
        Self::Creating,
        Self::Created,
        Self::Issued,
        Self::Unknown,
        Self::Failed,
        Self::Revoked,
        Self::Ended,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Issued => "issued",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Revoked => "revoked",
            Self::Ended => "ended",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// A call to create that may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    pub at: Timestamp,
    /// When the call has ended either way and its effect, if any, can be seen: nobody asks before.
    pub settles_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuance {
    pub plan_key: String,
    pub user_identity_id: String,
    pub status: Status,
    pub acs_credential_id: Option<String>,
    /// The ACS user that the credential belongs to, as the provider told it.
    pub acs_user_id: Option<String>,
    pub enrollment_automation_id: Option<String>,
    /// Calls to create so far.
    pub attempts: u32,
    /// A phone has waited too long for its key.
    pub overdue: bool,
    /// Why it is where it is, for a person to read.
    pub error: Option<String>,
    pub intent: Option<Intent>,
    /// When the sweep has it looked at again; `None` once its life is over.
    pub look_at: Option<Timestamp>,
    /// When it was last written; the store says so.
    pub changed_at: Timestamp,
    /// Counts writes: who writes on an older version than it read is refused.
    pub version: i64,
}

/// What an issuance calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing more will happen to it.
    Nothing,
    /// Commit an intent, then call.
    Create,
    /// Somebody's call may be under way: come back then.
    Wait { until: Timestamp },
    /// A call's outcome is unknown: ask the provider whether it took effect.
    Ask { called_at: Timestamp },
    /// The credential exists: read where it stands.
    Look,
}

/// What the provider's object says of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Gone,
    Unusable,
    Waiting,
    Issued,
}

/// A child credential on a phone, as the provider shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenKey {
    pub device_id: String,
    pub acs_credential_id: String,
    pub issued_at: Option<Timestamp>,
    /// Never [`Seen::Gone`]: what is gone is not seen.
    pub seen: Seen,
}

impl Issuance {
    /// A new life for `plan`.
    #[must_use]
    pub fn planned(plan: &Plan) -> Self {
        Self {
            plan_key: plan.key.clone(),
            user_identity_id: plan.spec.user_identity_id.clone(),
            status: Status::Planned,
            acs_credential_id: None,
            acs_user_id: plan.spec.acs_user_id.clone(),
            enrollment_automation_id: None,
            attempts: 0,
            overdue: false,
            error: None,
            intent: None,
            look_at: None,
            changed_at: plan.put_at,
            version: 0,
        }
    }

    /// What is to be done now so that the plan gets its credential.
    #[must_use]
    pub fn next(&self, plan: &Plan, now: Timestamp) -> Next {
        match (self.status, self.intent) {
            (Status::Revoked | Status::Ended, _) => Next::Nothing,
            (Status::Planned | Status::Failed, _) if !plan.is_live(now) => Next::Nothing,
            (Status::Planned | Status::Failed, _) => Next::Create,
            (Status::Creating | Status::Unknown, Some(intent)) if intent.settles_at > now => {
                Next::Wait { until: intent.settles_at }
            }
            (Status::Creating | Status::Unknown, intent) => {
                Next::Ask { called_at: intent.map_or(Timestamp::UNIX_EPOCH, |intent| intent.at) }
            }
            (Status::Created | Status::Issued, _) => Next::Look,
        }
    }

    /// Whether the provider holds, or may hold, a credential of this issuance.
    #[must_use]
    pub fn may_have_credential(&self) -> bool {
        match self.status {
            Status::Creating | Status::Created | Status::Issued | Status::Unknown => true,
            Status::Planned | Status::Failed | Status::Revoked | Status::Ended => false,
        }
    }

    #[must_use]
    pub fn creating(&self, intent: Intent) -> Self {
        Self {
            status: Status::Creating,
            attempts: self.attempts + 1,
            error: None,
            intent: Some(intent),
            ..self.clone()
        }
    }

    /// The call did not take effect: as if it had never been made, but for the count.
    #[must_use]
    pub fn not_created(&self, why: String) -> Self {
        Self { status: Status::Planned, error: Some(why), intent: None, ..self.clone() }
    }

    #[must_use]
    pub fn unknown(&self, why: String) -> Self {
        Self { status: Status::Unknown, error: Some(why), ..self.clone() }
    }

    #[must_use]
    pub fn failed(&self, why: String) -> Self {
        Self { status: Status::Failed, error: Some(why), intent: None, ..self.clone() }
    }

    /// The credential exists: created by our call, or found when we asked.
    #[must_use]
    pub fn created(&self, acs_credential_id: &str, acs_user_id: Option<&str>) -> Self {
        Self {
            status: Status::Created,
            acs_credential_id: Some(acs_credential_id.to_owned()),
            acs_user_id: acs_user_id.map(str::to_owned).or_else(|| self.acs_user_id.clone()),
            error: None,
            intent: None,
            ..self.clone()
        }
    }

    #[must_use]
    pub fn revoked(&self, why: String) -> Self {
        Self { status: Status::Revoked, error: Some(why), ..self.over() }
    }

    #[must_use]
    pub fn ended(&self) -> Self {
        Self { status: Status::Ended, error: None, ..self.over() }
    }

    /// Nothing is expected of it any more.
    fn over(&self) -> Self {
        Self { overdue: false, intent: None, look_at: None, ..self.clone() }
    }

    /// Takes over what the provider's object says; it is the truth in both directions.
    #[must_use]
    pub fn seen(&self, seen: Seen) -> Self {
        if !matches!(self.status, Status::Created | Status::Issued) {
            return self.clone();
        }
        match seen {
            Seen::Gone => self.revoked("the credential no longer exists at the provider".to_owned()),
            Seen::Unusable => self.revoked("the provider no longer honours the credential".to_owned()),
            Seen::Waiting => Self { status: Status::Created, ..self.clone() },
            Seen::Issued => Self { status: Status::Issued, ..self.clone() },
        }
    }

    /// Whether the ledger tells of the difference: looks come and go, and being overdue has a line of its own.
    #[must_use]
    pub fn stands_like(&self, other: &Self) -> bool {
        Self { overdue: other.overdue, look_at: other.look_at, changed_at: other.changed_at, ..self.clone() } == *other
    }

    /// The ledger's line for where it stands now.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let entry = Entry::new(Kind::Issuance(self.status))
            .plan(&self.plan_key)
            .person(&self.user_identity_id)
            .credential(self.acs_credential_id.as_deref());
        match &self.error {
            Some(why) => entry.why(why),
            None => entry,
        }
    }
}

/// The keys that change when the provider shows `seen`, in the order of their phones.
///
/// `phones` says of each known phone of the person whether it is active. A phone that only the provider knows gets its
/// key too: the order in which webhooks and keys arrive is not to matter.
#[must_use]
pub fn changed_keys(plan_key: &str, known: &[PhoneKey], phones: &[(String, bool)], seen: &[SeenKey]) -> Vec<PhoneKey> {
    let mut devices: Vec<&str> = known.iter().map(|key| key.device_id.as_str()).collect();
    devices.extend(phones.iter().map(|(device_id, _)| device_id.as_str()));
    devices.extend(seen.iter().map(|key| key.device_id.as_str()));
    devices.sort_unstable();
    devices.dedup();

    let after = |device_id: &str| -> PhoneKey {
        let before = known.iter().find(|key| key.device_id == device_id);
        let mut key = before.cloned().unwrap_or_else(|| PhoneKey::waiting(plan_key, device_id));
        let shown = best(seen.iter().filter(|shown| shown.device_id == device_id));
        let is_inactive = phones.iter().any(|(id, is_active)| id == device_id && !is_active);
        key.status = match shown {
            Some(shown) => {
                key.acs_credential_id = Some(shown.acs_credential_id.clone());
                key.issued_at = shown.issued_at;
                match shown.seen {
                    Seen::Issued => KeyStatus::Issued,
                    Seen::Waiting => KeyStatus::Waiting,
                    Seen::Unusable | Seen::Gone => KeyStatus::Revoked,
                }
            }
            // The child that it had is no longer there, or its phone is not.
            None if key.acs_credential_id.is_some() || is_inactive => KeyStatus::Revoked,
            None => key.status,
        };
        key
    };
    devices.into_iter().map(after).filter(|key| !known.contains(key)).collect()
}

/// Where the provider shows several children for one phone (a reissue), the best of them counts.
fn best<'a>(shown: impl Iterator<Item = &'a SeenKey>) -> Option<&'a SeenKey> {
    shown.max_by_key(|key| match key.seen {
        Seen::Issued => 3,
        Seen::Waiting => 2,
        Seen::Unusable => 1,
        Seen::Gone => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PlanSpec;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn plan() -> Plan {
        let body = br#"{"user_identity_id": "u", "acs_user_id": "a", "ends_at": "2027-06-01T00:00:00Z"}"#;
        Plan {
            key: "booking-1".to_owned(),
            spec: PlanSpec::from_json(body).expect("a plan"),
            put_at: at(0),
            deleted_at: None,
        }
    }

    #[test]
    fn an_intent_without_outcome_is_neither_repeated_nor_given_up_but_asked_about() {
        let issuance = Issuance::planned(&plan());
        assert_eq!(issuance.next(&plan(), at(0)), Next::Create);
        let creating = issuance.creating(Intent { at: at(1), settles_at: at(21) });
        assert_eq!(creating.next(&plan(), at(20)), Next::Wait { until: at(21) });
        assert_eq!(creating.next(&plan(), at(21)), Next::Ask { called_at: at(1) });
        let unknown = creating.unknown("timed out".to_owned());
        assert_eq!(unknown.next(&plan(), at(20)), Next::Wait { until: at(21) });
        assert_eq!(unknown.next(&plan(), at(22)), Next::Ask { called_at: at(1) });
        let adopted = unknown.created("c", Some("a"));
        assert_eq!(adopted.next(&plan(), at(22)), Next::Look);
    }

    #[test]
    fn a_cancelled_or_ended_plan_creates_nothing_but_still_asks() {
        let cancelled = Plan { deleted_at: Some(at(5)), ..plan() };
        let issuance = Issuance::planned(&plan());
        assert_eq!(issuance.next(&cancelled, at(6)), Next::Nothing);
        let creating = issuance.creating(Intent { at: at(1), settles_at: at(2) });
        assert_eq!(creating.next(&cancelled, at(6)), Next::Ask { called_at: at(1) });
    }

    #[test]
    fn the_providers_object_is_the_truth_in_both_directions() {
        let created = Issuance::planned(&plan()).created("c", None);
        let issued = created.seen(Seen::Issued);
        assert_eq!(issued.status, Status::Issued);
        assert_eq!(issued.seen(Seen::Waiting).status, Status::Created);
        assert_eq!(issued.seen(Seen::Gone).status, Status::Revoked);
        assert_eq!(issued.seen(Seen::Gone).seen(Seen::Issued).status, Status::Revoked, "what is gone stays gone");
    }

    fn seen(device_id: &str, acs_credential_id: &str, seen: Seen) -> SeenKey {
        SeenKey {
            device_id: device_id.to_owned(),
            acs_credential_id: acs_credential_id.to_owned(),
            issued_at: (seen == Seen::Issued).then(|| at(9)),
            seen,
        }
    }

    #[test]
    fn each_phone_gets_its_key_whoever_told_of_it_first() {
        let phones = [("d1".to_owned(), true), ("d2".to_owned(), false)];
        let shown = [seen("d1", "c1", Seen::Issued), seen("d3", "c3", Seen::Waiting)];
        let keys = changed_keys("booking-1", &[], &phones, &shown);
        let told: Vec<_> = keys.iter().map(|key| (key.device_id.as_str(), key.status)).collect();
        assert_eq!(told, [("d1", KeyStatus::Issued), ("d2", KeyStatus::Revoked), ("d3", KeyStatus::Waiting)]);
        assert_eq!(changed_keys("booking-1", &keys, &phones, &shown), [], "seeing the same again changes nothing");
    }

    #[test]
    fn a_key_whose_child_disappeared_is_revoked_and_a_reissued_one_is_issued() {
        let known = changed_keys("booking-1", &[], &[], &[seen("d1", "c1", Seen::Issued)]);
        assert_eq!(changed_keys("booking-1", &known, &[], &[])[0].status, KeyStatus::Revoked);
        let both = [seen("d1", "c1", Seen::Unusable), seen("d1", "c2", Seen::Issued)];
        let reissued = changed_keys("booking-1", &known, &[], &both);
        assert_eq!(reissued[0].acs_credential_id.as_deref(), Some("c2"));
        assert_eq!(reissued[0].status, KeyStatus::Issued);
    }
}
