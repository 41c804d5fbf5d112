//! What a trouble means for its event: one table.

use jiff::{SignedDuration, Timestamp};

use crate::domain::{Backoff, Fact, Outcome};
use crate::provider::ProviderError;
use crate::store::{Claimed, StoreError};

/// Why a handling did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    Provider(ProviderError),
    Store(StoreError),
    /// Somebody else may be at it: hands off.
    LeaseLost,
    /// Somebody else changed what was read: read it again.
    Conflict {
        what: String,
    },
    /// A call may still be under way; nobody may act before.
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
/// `chance` in `0.0..1.0` spreads the wait.
pub(super) fn outcome(
    trouble: &Trouble,
    claimed: &Claimed,
    backoff: &Backoff,
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
        // If the store is away, this cannot be recorded either, and the lease passes.
        Trouble::Store(error) => (SignedDuration::ZERO, error.to_string()),
        Trouble::Conflict { what } => {
            (CONFLICT_WAIT.mul_f64(1.0 + chance), format!("{what} was changed by somebody else in the meantime"))
        }
        Trouble::Unsettled { until, why } => (until.duration_since(now), why.clone()),
        Trouble::Panic => (SignedDuration::ZERO, "the handler panicked; the log has the message".to_owned()),
    };
    if claimed.attempt >= backoff.attempts_max {
        return Some(give_up(claimed, format!("gave up after {} attempts: {why}", claimed.attempt)));
    }
    let after = match trouble {
        // A date, not a failure: waiting longer for each would only delay the key.
        Trouble::Unsettled { .. } | Trouble::Conflict { .. } => at_least,
        _ => backoff.after(claimed.attempt, chance).max(at_least),
    };
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

    fn word(trouble: &Trouble, attempt: u32) -> String {
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
        };
        match outcome(trouble, &claimed, &Backoff::default(), 0.5, now) {
            None => "left".to_owned(),
            Some(Outcome::Done) => "done".to_owned(),
            Some(Outcome::Ignored { .. }) => "ignored".to_owned(),
            Some(Outcome::Retry { after, .. }) => format!("retry in {} ms", after.as_millis()),
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
        let permanent = Trouble::Provider(ProviderError::Permanent {
            call: "/acs/credentials/create",
            status: 400,
            error_type: "invalid_input".to_owned(),
            message: "acs_user_id is required".to_owned(),
        });
        let unsettled = Trouble::Unsettled {
            until: Timestamp::from_second(20).expect("a time"),
            why: "a call may be under way".to_owned(),
        };
        let cases = [
            (transient(None), 1, "retry in 1000 ms"),
            (transient(None), 4, "retry in 8000 ms"),
            (transient(Some(30)), 1, "retry in 30000 ms"),
            (transient(None), 60, "park: gave up after 60 attempts: /acs/credentials/get: 503"),
            (permanent, 1, "park: /acs/credentials/create: invalid_input: acs_user_id is required"),
            (unsettled, 9, "retry in 20000 ms"),
            (Trouble::Conflict { what: "it".to_owned() }, 9, "retry in 150 ms"),
            (Trouble::Store(StoreError::Url), 3, "retry in 4000 ms"),
            (Trouble::LeaseLost, 1, "left"),
            (Trouble::Panic, 1, "retry in 1000 ms"),
        ];
        for (trouble, attempt, expected) in cases {
            assert_eq!(word(&trouble, attempt), expected, "{trouble:?} at attempt {attempt}");
        }
    }
}
