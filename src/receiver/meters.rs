//! The counters and gauges of one source, each looked up once: by its name and labels a look-up costs as much as parsing
//! a body. What never happened has none.

use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use super::source::SECRETS_MAX;
use super::verify::SecretName;

const REQUESTS: &str = "keyferry_webhooks_total";
const SECRET_USES: &str = "keyferry_source_secret_uses_total";
const SECRET_USED: &str = "keyferry_source_secret_last_used_timestamp_seconds";
const SKEW_SECONDS: &str = "keyferry_source_clock_skew_seconds";

/// No configured source can have this name, since it has an underscore.
pub(super) const UNKNOWN: &str = "_unknown";

pub(super) fn describe() {
    describe_counter!(REQUESTS, "Webhook requests, by source and by how they ended");
    describe_counter!(SECRET_USES, "Webhooks that a secret has verified, by source and by the secret's name");
    describe_gauge!(SECRET_USED, "When a secret last verified a webhook, by source and by the secret's name");
    describe_gauge!(
        SKEW_SECONDS,
        "How old the last genuine signature of a source was when it came; below 0, how early"
    );
}

/// Counts a request that named no source.
pub(super) fn stranger(outcome: &'static str) {
    counter!(REQUESTS, "source" => UNKNOWN, "outcome" => outcome).increment(1);
}

#[derive(Debug, Default)]
pub(super) struct Meters {
    accepted: OnceLock<Counter>,
    skew: OnceLock<Gauge>,
    secrets: [OnceLock<Uses>; SECRETS_MAX],
}

/// What is known of one secret's use.
#[derive(Debug)]
struct Uses {
    name: SecretName,
    total: Counter,
    last: Gauge,
}

impl Meters {
    pub(super) fn request(&self, source: &Arc<str>, outcome: &'static str) {
        let of = |outcome| counter!(REQUESTS, "source" => Arc::clone(source), "outcome" => outcome);
        // The others are rare, or cheap to be slow for.
        if outcome == "accepted" {
            self.accepted.get_or_init(|| of(outcome)).increment(1);
        } else {
            of(outcome).increment(1);
        }
    }

    pub(super) fn proven(&self, source: &Arc<str>, secret: &SecretName, now: Timestamp) {
        let uses = || Uses {
            name: secret.clone(),
            total: counter!(SECRET_USES, "source" => Arc::clone(source), "secret" => secret.shared()),
            last: gauge!(SECRET_USED, "source" => Arc::clone(source), "secret" => secret.shared()),
        };
        let mut known = self.secrets.iter().map(|slot| slot.get_or_init(uses));
        if let Some(uses) = known.find(|uses| uses.name == *secret) {
            uses.total.increment(1);
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
            uses.last.set(now.as_second() as f64);
        }
    }

    pub(super) fn skew(&self, source: &Arc<str>, age: SignedDuration) {
        self.skew.get_or_init(|| gauge!(SKEW_SECONDS, "source" => Arc::clone(source))).set(age.as_secs_f64());
    }
}
