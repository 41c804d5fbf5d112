//! What a trouble means for its event: one table.

use jiff::{SignedDuration, Timestamp};

use crate::domain::{Backoff, Fact, Outcome};
use crate::provider::ProviderError;
use crate::store::{Claimed, StoreError};

/// Why a handling did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    Provider(ProviderError),
    /// Our own call may have taken effect; nobody may act before it has settled.
    Lost {
        error: ProviderError,
        settles_at: Timestamp,
    },
    Store(StoreError),
    /// Somebody else may be at it: hands off.
    LeaseLost,
    /// Somebody else changed what was read: read it again.
    Conflict {
        what: String,
    },
    /// Another's call may still be under way; nobody may act before.
    Unsettled {
        until: Timestamp,
        why: String,
    },
    /// A fact from a newer receiver.
    NotUnderstood {
        why: String,
    },
    Panic,
}

impl Trouble {
    /// No repetition mends it.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Provider(ProviderError::Permanent { .. }) | Self::NotUnderstood { .. })
    }
}

impl From<ProviderError> for Trouble {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The outcome of a handling that met `trouble`; `None` leaves the event to whoever claims it next.
///
/// `excuse`: until when whoever met a trouble of the provider's waits at no cost, because it is nobody's own. `chance` in
/// `0.0..1.0` spreads the wait.
pub(super) fn outcome(
    trouble: &Trouble,
    claimed: &Claimed,
    backoff: &Backoff,
    excuse: Option<Timestamp>,
    chance: f64,
    now: Timestamp,
) -> Option<Outcome> {
    let (at_least, why) = match trouble {
        Trouble::LeaseLost => {
            tracing::warn!("the lease has passed during the handling; nothing more is recorded");
            return None;
        }
        Trouble::Provider(error @ ProviderError::Permanent { .. }) => {
            return Some(give_up(claimed, error.to_string()));
        }
        Trouble::NotUnderstood { why } => return Some(Outcome::Park { why: why.clone() }),
        // The client has held what the provider asks for within reason.
        Trouble::Provider(error @ ProviderError::Transient { retry_after, .. }) => {
            let asked = retry_after.and_then(|wait| SignedDuration::try_from(wait).ok()).unwrap_or_default();
            (asked, error.to_string())
        }
        Trouble::Provider(error @ ProviderError::Unknown { .. }) => (SignedDuration::ZERO, error.to_string()),
        Trouble::Provider(error @ ProviderError::Held { until, .. }) => (until.duration_since(now), error.to_string()),
        Trouble::Lost { error, settles_at } => (settles_at.duration_since(now), error.to_string()),
        // If the store is away, this cannot be recorded either, and the lease passes.
        Trouble::Store(error) => (SignedDuration::ZERO, error.to_string()),
        Trouble::Conflict { what } => {
            (CONFLICT_WAIT.mul_f64(1.0 + chance), format!("{what} was changed by somebody else in the meantime"))
        }
        Trouble::Unsettled { until, why } => (until.duration_since(now), why.clone()),
        Trouble::Panic => (SignedDuration::ZERO, "the handler panicked; the log has the message".to_owned()),
    };
    let is_providers = matches!(trouble, Trouble::Provider(_) | Trouble::Lost { .. });
    // Not called, or called in vain like everybody else.
    let is_held = matches!(trouble, Trouble::Provider(ProviderError::Held { .. }));
    if is_held || (is_providers && excuse.is_some()) {
        let excused = excuse.map_or(SignedDuration::ZERO, |until| until.duration_since(now));
        return Some(Outcome::Await { after: excused.max(at_least), why, is_counted: false });
    }
    if claimed.attempt >= backoff.attempts_max {
        return Some(give_up(claimed, format!("gave up after {} attempts: {why}", claimed.attempt)));
    }
    let after = match trouble {
        // A date, not a failure: waiting longer for each would only delay the key.
        Trouble::Unsettled { .. } | Trouble::Conflict { .. } => at_least,
        _ => backoff.after(claimed.attempt, chance).max(at_least),
    };
    if is_providers {
        return Some(Outcome::Await { after, why, is_counted: true });
    }
    Some(Outcome::Retry { after, why })
}

/// No further attempt: a person decides. A look needs none, because the next one is due by itself.
pub(super) fn give_up(claimed: &Claimed, why: String) -> Outcome {
    if claimed.fact.as_ref().is_ok_and(Fact::is_look) {
        tracing::warn!(why, "the look came to nothing");
        metrics::counter!("keyferry_looks_in_vain_total").increment(1);
        return Outcome::Ignored { why };
    }
    Outcome::Park { why }
}

/// Reading again is all that a conflict takes.
const CONFLICT_WAIT: SignedDuration = SignedDuration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn word(trouble: &Trouble, attempt: u32, excuse: Option<Timestamp>) -> String {
        let now = Timestamp::UNIX_EPOCH;
        let claimed = Claimed {
            seq: 1,
            source: "app".to_owned(),
            event_id: "e".to_owned(),
            event_type: "phone.registered".to_owned(),
            received_at: now,
            fact: Ok(Fact::Other),
            traceparent: None,
            attempt,
            lease: "l".to_owned(),
            twins: vec![],
        };
        match outcome(trouble, &claimed, &Backoff::default(), excuse, 0.5, now) {
            None => "left".to_owned(),
            Some(Outcome::Done) => "done".to_owned(),
            Some(Outcome::Ignored { .. }) => "ignored".to_owned(),
            Some(Outcome::Retry { after, .. }) => format!("retry in {} ms", after.as_millis()),
            Some(Outcome::Await { after, is_counted: true, .. }) => format!("await for {} ms", after.as_millis()),
            Some(Outcome::Await { after, .. }) => format!("await at no cost for {} ms", after.as_millis()),
            Some(Outcome::Park { why }) => format!("park: {why}"),
        }
    }

    #[test]
    fn the_table() {
        let transient = |seconds: Option<u64>| {
            Trouble::Provider(ProviderError::Transient {
                call: "/acs/credentials/get",
                why: "503".to_owned(),
                retry_after: seconds.map(Duration::from_secs),
            })
        };
        let at = |second| Timestamp::from_second(second).expect("a time");
        let permanent = || {
            Trouble::Provider(ProviderError::Permanent {
                call: "/acs/credentials/create",
                status: 400,
                error_type: "invalid_input".to_owned(),
                message: "acs_user_id is required".to_owned(),
            })
        };
        let unsettled = || Trouble::Unsettled { until: at(20), why: "a call may be under way".to_owned() };
        let lost = || Trouble::Lost {
            error: ProviderError::Unknown { call: "/acs/credentials/create", why: "no answer".to_owned() },
            settles_at: at(15),
        };
        let held = || Trouble::Provider(ProviderError::Held { until: at(7), why: "no connection".to_owned() });
        let (nobodys, excused) = (None, Some(at(4)));
        let cases = [
            (transient(None), 1, nobodys, "await for 1000 ms"),
            (transient(None), 4, nobodys, "await for 8000 ms"),
            (transient(Some(30)), 1, nobodys, "await for 30000 ms"),
            (transient(None), 60, nobodys, "park: gave up after 60 attempts: /acs/credentials/get: 503"),
            (transient(None), 60, excused, "await at no cost for 4000 ms"),
            (transient(Some(30)), 1, excused, "await at no cost for 30000 ms"),
            (held(), 60, excused, "await at no cost for 7000 ms"),
            (held(), 60, nobodys, "await at no cost for 7000 ms"),
            (lost(), 1, nobodys, "await for 15000 ms"),
            (lost(), 9, nobodys, "await for 256000 ms"),
            (lost(), 9, excused, "await at no cost for 15000 ms"),
            (permanent(), 1, nobodys, "park: /acs/credentials/create: invalid_input: acs_user_id is required"),
            (permanent(), 1, excused, "park: /acs/credentials/create: invalid_input: acs_user_id is required"),
            (unsettled(), 9, nobodys, "retry in 20000 ms"),
            (unsettled(), 9, excused, "retry in 20000 ms"),
            (Trouble::Conflict { what: "it".to_owned() }, 9, nobodys, "retry in 150 ms"),
            (Trouble::Store(StoreError::Url), 3, excused, "retry in 4000 ms"),
            (Trouble::LeaseLost, 1, excused, "left"),
            (Trouble::Panic, 1, nobodys, "retry in 1000 ms"),
        ];
        for (trouble, attempt, excuse, expected) in cases {
            let given = word(&trouble, attempt, excuse);
            assert_eq!(given, expected, "{trouble:?} at attempt {attempt}, excused: {}", excuse.is_some());
        }
    }
}
