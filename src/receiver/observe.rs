//! What an operator sees of the receiver: one log line per request, counters and a histogram.
//!
//! Nobody outside chooses how much is logged. What an anonymous request can cause is logged at debug and counted; at
//! warn it appears once a minute per reason, with the number of those that went unsaid. Labels are bounded: a source
//! counts under its name only if it is configured, an event type is never a label.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use metrics::{Histogram, counter, describe_counter, describe_histogram, histogram};

use super::meters;
use super::outcome::{self, Accepted, Outcome, Rejection};
use super::source::Source;
use super::verify::{Refusal, Refused, Verified};

const REFUSED: &str = "keyferry_webhooks_refused_total";
const ACCEPT_SECONDS: &str = "keyferry_webhook_accept_seconds";

const WARN_EVERY_SECONDS: i64 = 60;

pub(super) fn describe() {
    meters::describe();
    describe_counter!(REFUSED, "Webhook requests that were not taken for their sender's, by reason");
    describe_histogram!(ACCEPT_SECONDS, metrics::Unit::Seconds, "From the request's head to the durable event");
}

/// The receiver's memory of what it has complained about.
#[derive(Debug, Default)]
pub(super) struct Observer {
    refused: [Throttle; Refusal::ALL.len()],
    not_durable: Throttle,
    skewed: Throttle,
    accept_seconds: OnceLock<Histogram>,
}

impl Observer {
    /// Records how one request ended.
    pub(super) fn record(&self, source: Option<&Source>, outcome: &Outcome, now: Timestamp, took: SignedDuration) {
        let name = outcome::name(outcome);
        match source {
            Some(source) => source.meters().request(source.name(), name),
            None => meters::stranger(name),
        }

        let source = source.map_or(meters::UNKNOWN, |source| source.name());
        let duration_ms = took.as_secs_f64() * 1e3;
        match outcome {
            Ok(accepted) => self.accepted(source, accepted, name, duration_ms),
            Err(Rejection::Refused(refusal)) => {
                counter!(REFUSED, "reason" => refusal.reason()).increment(1);
                self.refused(source, *refusal, now, duration_ms);
            }
            Err(Rejection::NotDurable(error)) => {
                if let Some(unsaid) = self.not_durable.pass(now) {
                    tracing::warn!(source, %error, unsaid, duration_ms, "webhooks cannot be made durable: answering 503");
                }
            }
            Err(rejection) => {
                tracing::debug!(source, %rejection, outcome = name, duration_ms, "a webhook was rejected");
            }
        }
    }

    /// Counts which secret verified, and how far the sender's clock is from ours.
    pub(super) fn proven(
        &self,
        source: Option<&Source>,
        verdict: &Result<(&Source, Verified), Refused>,
        now: Timestamp,
    ) {
        let Some(source) = source else { return };
        let (meters, name) = (source.meters(), source.name());
        let proof = match verdict {
            Ok((_, delivery)) => {
                meters.proven(name, delivery.proof().secret(), now);
                delivery.proof()
            }
            Err(Refused { proof: Some(proof), .. }) => proof,
            Err(Refused { proof: None, .. }) => return,
        };
        let Some(age) = proof.age(now) else { return };
        meters.skew(name, age);
        let tolerance = source.tolerance();
        if age.abs() * 2 > tolerance
            && let Some(unsaid) = self.skewed.pass(now)
        {
            let (source, skew_seconds, tolerance_seconds) = (&**source.name(), age.as_secs(), tolerance.as_secs());
            tracing::warn!(
                source,
                skew_seconds,
                tolerance_seconds,
                unsaid,
                "signatures arrive far from their time: this clock or the sender's is off, or deliveries are held up; \
                 beyond the tolerance they are refused"
            );
        }
    }

    fn refused(&self, source: &str, refusal: Refusal, now: Timestamp, duration_ms: f64) {
        let reason = refusal.reason();
        tracing::debug!(source, reason, duration_ms, "a webhook was refused");
        if let Some(unsaid) = self.refused[refusal as usize].pass(now) {
            tracing::warn!(source, reason, unsaid, "webhooks are refused: {refusal}");
        }
    }

    fn accepted(&self, source: &str, accepted: &Accepted, outcome: &str, duration_ms: f64) {
        let (events, unreadable) = (accepted.event_types.len(), accepted.unreadable.len());
        // Of a batch the first stands for the others: each has a line of its own in the ledger.
        if let Some(why) = accepted.unreadable.first() {
            let message = "a genuine webhook cannot be read: parked";
            tracing::warn!(source, why, unreadable, events, outcome, duration_ms, "{message}");
        } else {
            self.accept_seconds.get_or_init(|| histogram!(ACCEPT_SECONDS)).record(duration_ms / 1e3);
            let event_type = accepted.event_types.first();
            tracing::debug!(source, event_type, events, outcome, duration_ms, "a webhook was accepted");
        }
    }
}

/// Lets one message a minute through and counts the others.
#[derive(Debug)]
struct Throttle {
    /// Unix seconds.
    next: AtomicI64,
    unsaid: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { next: AtomicI64::new(i64::MIN), unsaid: AtomicU64::new(0) }
    }
}

impl Throttle {
    /// `Some(how many were held back since the last)` when it is time for a message again.
    fn pass(&self, now: Timestamp) -> Option<u64> {
        let (now, next) = (now.as_second(), self.next.load(Ordering::Relaxed));
        // A clock that was set back must not silence us for longer than a minute either.
        let due = now >= next || next - now > WARN_EVERY_SECONDS;
        let ours = due
            && self.next.compare_exchange(next, now + WARN_EVERY_SECONDS, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if ours {
            Some(self.unsaid.swap(0, Ordering::Relaxed))
        } else {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_minute() {
        let throttle = Throttle::default();
        let at = |seconds: i64| Timestamp::from_second(1_772_361_605 + seconds).expect("a timestamp");
        assert_eq!(throttle.pass(at(0)), Some(0));
        assert_eq!([throttle.pass(at(0)), throttle.pass(at(59))], [None, None]);
        assert_eq!(throttle.pass(at(60)), Some(2));
        assert_eq!(throttle.pass(at(61)), None);
        assert_eq!(throttle.pass(at(-3600)), Some(1), "the clock was set back");
    }

    #[test]
    fn every_refusal_has_its_own_throttle_and_name() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index, "{refusal:?}");
        }
        let reasons: std::collections::BTreeSet<_> = Refusal::ALL.into_iter().map(Refusal::reason).collect();
        assert_eq!(reasons.len(), Refusal::ALL.len());
    }
}
