//! How long to wait before trying again: doubling, with jitter, so that many processes do not come back at once.

use std::time::Duration;

use jiff::SignedDuration;

use crate::clock::Entropy;

#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    /// The pause after the `failures`-th failure in a row (the first is 1): between half and all of `min` doubled each
    /// time, and never more than `max`.
    pub(super) fn pause(&self, failures: u32, entropy: &dyn Entropy) -> SignedDuration {
        let doublings = failures.saturating_sub(1).min(16);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        let pause = full.mul_f64(0.5 + entropy.unit() / 2.0);
        SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;

    #[test]
    fn a_pause_doubles_up_to_the_maximum_and_keeps_half_of_itself() {
        let backoff = Backoff { min: Duration::from_millis(200), max: Duration::from_secs(15) };
        let entropy = SeededEntropy::new(1);
        for (failures, full_ms) in [(1, 200), (2, 400), (7, 12_800), (8, 15_000), (u32::MAX, 15_000)] {
            let pause = backoff.pause(failures, &entropy).as_millis();
            assert!((full_ms / 2..=full_ms).contains(&pause), "after {failures}: {pause} ms of {full_ms}");
        }
    }
}
