//! The section `worker`.

use jiff::SignedDuration;

use super::{Judge, seconds};
use crate::config::{Role, file};
use crate::domain::Backoff;
use crate::worker;
use crate::worker::pace::{self, Rate, Rules};

impl Judge<'_> {
    pub(super) fn worker(&mut self, role: Role, file: &file::Worker, provider: &file::Provider) -> worker::Settings {
        self.at_least("worker.concurrency", file.concurrency, 1);
        self.at_least("worker.in_flight_max", file.in_flight_max, 1);
        self.at_least("worker.lease_seconds", file.lease_seconds, 3);
        self.at_least("worker.backoff_base_ms", file.backoff_base_ms, 1);
        self.at_least("worker.backoff_cap_seconds", file.backoff_cap_seconds, 1);
        self.at_least("worker.attempts_max", file.attempts_max, 1);
        let start_within = worker::START_WITHIN.as_secs().unsigned_abs();
        if role.works() && file.settle_seconds < provider.deadline_seconds.saturating_add(start_within) {
            let what = format!("it must be at least provider.deadline_seconds and {start_within} s more");
            self.say("worker.settle_seconds", what);
        }
        worker::Settings {
            concurrency: file.concurrency,
            in_flight_max: file.in_flight_max,
            lease: seconds(file.lease_seconds),
            settle: seconds(file.settle_seconds),
            drain: seconds(file.drain_seconds),
            backoff: Backoff {
                base: millis(file.backoff_base_ms),
                cap: seconds(file.backoff_cap_seconds),
                attempts_max: file.attempts_max,
            },
            pace: self.pace(provider),
            ..worker::Settings::default()
        }
    }

    fn pace(&mut self, file: &file::Provider) -> pace::Settings {
        self.at_least("provider.calls_burst_max", file.calls_burst_max, 1);
        self.at_least("provider.failures_max", file.failures_max, 1);
        self.at_least("provider.probe_after_ms", file.probe_after_ms, 1);
        self.at_least("provider.probe_after_seconds_max", file.probe_after_seconds_max, 1);
        let rate = Rate { per_second: file.calls_per_second_max, burst: file.calls_burst_max };
        pace::Settings {
            rate: (rate.per_second > 0).then_some(rate),
            breaker: Rules {
                failures_max: file.failures_max,
                probe_after: millis(file.probe_after_ms),
                probe_after_max: seconds(file.probe_after_seconds_max),
                rest_max: seconds(file.retry_after_seconds_max),
            },
        }
    }
}

fn millis(millis: u64) -> SignedDuration {
    i64::try_from(millis).map_or(SignedDuration::MAX, SignedDuration::from_millis)
}
