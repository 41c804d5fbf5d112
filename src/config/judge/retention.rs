//! The section `retention`.

use jiff::SignedDuration;

use super::Judge;
use crate::config::file;
use crate::store::Retention;

impl Judge<'_> {
    pub(super) fn retention(&mut self, file: &file::Retention) -> Retention {
        self.at_least("retention.ledger_days", file.ledger_days, 1);
        // Senders repeat a webhook for 27 hours and a half, and by then it must still be known.
        self.at_least("retention.events_days", file.events_days, 2);
        self.at_least("retention.plans_days", file.plans_days, 1);
        Retention { ledger: days(file.ledger_days), events: days(file.events_days), plans: days(file.plans_days) }
    }
}

fn days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}
