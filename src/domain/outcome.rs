//! How a handling ends, and how long a retry waits.

use jiff::SignedDuration;

/// Every handling of an event ends in one of these words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What the event asked for has been done, or was done already.
    Done,
    /// The event was understood, and it asks nothing of us.
    Ignored { why: String },
    /// Not now: again after this long, for this reason.
    Retry { after: SignedDuration, why: String },
    /// The provider gave no answer to work with: again after this long, or as soon as it is known to work again.
    ///
    /// `is_counted`: it costs the event one of its attempts. Not so while the provider answers nobody.
    Await { after: SignedDuration, why: String, is_counted: bool },
    /// No repetition mends it: put aside for a person.
    Park { why: String },
}

impl Outcome {
    /// The event needs no other handling, and neither do those that report the very same.
    #[must_use]
    pub fn has_ended_well(&self) -> bool {
        matches!(self, Self::Done | Self::Ignored { .. })
    }
}

/// Exponential backoff with jitter, held between `base` and `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub base: SignedDuration,
    pub cap: SignedDuration,
    /// Handlings that an event gets before it is parked.
    pub attempts_max: u32,
}

impl Default for Backoff {
    /// About a day, as long as a webhook sender would go on: 1 s, 2 s, 4 s … 17 min, then every half hour.
    fn default() -> Self {
        Self { base: SignedDuration::from_secs(1), cap: SignedDuration::from_mins(30), attempts_max: 60 }
    }
}

impl Backoff {
    /// The wait after the `attempt`th attempt (counted from 1), spread by ±20 % with `chance` in `0.0..1.0`, so that
    /// what failed together does not come back together.
    #[must_use]
    pub fn after(&self, attempt: u32, chance: f64) -> SignedDuration {
        let doublings = attempt.saturating_sub(1).min(30);
        let wait = self.base.checked_mul(1 << doublings).unwrap_or(self.cap).min(self.cap);
        SignedDuration::from_secs_f64(wait.as_secs_f64() * (0.8 + 0.4 * chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_are_spread_by_a_fifth() {
        let backoff = Backoff::default();
        let waits: Vec<i64> = [1, 2, 3, 11, 12, 60, u32::MAX].map(|n| backoff.after(n, 0.5).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 1024, 1800, 1800, 1800]);
        assert_eq!(backoff.after(60, 0.0).as_secs(), 1440);
        assert_eq!(backoff.after(60, 0.9999).as_secs(), 2159);
    }
}
