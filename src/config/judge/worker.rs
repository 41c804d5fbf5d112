//! The section `worker`.

use jiff::SignedDuration;

use super::{Judge, seconds};
use crate::config::{Role, file};
use crate::domain::Backoff;
use crate::worker;

impl Judge<'_> {
    pub(super) fn worker(&mut self, role: Role, file: &file::Worker, provider: &file::Provider) -> worker::Settings {
        self.at_least("worker.concurrency", file.concurrency, 1);
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
            lease: seconds(file.lease_seconds),
            settle: seconds(file.settle_seconds),
            drain: seconds(file.drain_seconds),
            backoff: Backoff {
                base: i64::try_from(file.backoff_base_ms).map_or(SignedDuration::MAX, SignedDuration::from_millis),
                cap: seconds(file.backoff_cap_seconds),
                attempts_max: file.attempts_max,
            },
            ..worker::Settings::default()
        }
    }
}
