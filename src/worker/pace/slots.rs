//! The rate limit of all processes together: each call waits for its slot.
//!
//! GCRA, the generic cell rate algorithm: the store keeps one number, up to when calls are spoken for. A call adds its
//! share to it and may begin as soon as that is no more than a burst ahead of the present.

use std::mem;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::store::{Store, StoreError};

/// Calls to the provider, of all processes of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub per_second: u32,
    /// Calls that may begin at once after a rest. At least 1.
    pub burst: u32,
}

impl Rate {
    /// What one call takes of the time, in microseconds.
    fn share_us(self) -> i64 {
        (1_000_000 / i64::from(self.per_second.max(1))).max(1)
    }

    /// How far ahead of the present the time may be spoken for without anybody having to wait.
    fn burst_us(self) -> i64 {
        self.share_us().saturating_mul(i64::from(self.burst.max(1)))
    }

    /// How many calls of the burst are used up at `now`.
    pub(super) fn used(self, now: Timestamp, spoken_for_us: i64) -> u32 {
        let ahead = (spoken_for_us - now.as_microsecond()).clamp(0, self.burst_us());
        let share = self.share_us();
        u32::try_from((ahead + share - 1) / share).unwrap_or(self.burst)
    }

    /// When each of the last `count` calls that brought the time to `spoken_for_us` may begin.
    fn slots(self, count: usize, spoken_for_us: i64) -> impl Iterator<Item = Timestamp> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        (1..=count).map(move |place| {
            let spoken_for = spoken_for_us - (count - place) * self.share_us();
            Timestamp::from_microsecond(spoken_for - self.burst_us()).unwrap_or_default()
        })
    }
}

/// Reserves slots: one small transaction for all callers of this process that wait at the moment.
pub(super) struct Slots {
    rate: Rate,
    /// Callers that can wait for a slot at once, of all processes: what bounds how far ahead the time is spoken for.
    callers_max: u32,
    waiting: Mutex<Vec<oneshot::Sender<Timestamp>>>,
    /// Whoever holds it reserves for all who wait.
    turn: tokio::sync::Mutex<()>,
}

impl Slots {
    pub(super) fn new(rate: Rate, callers_max: u32) -> Self {
        Self { rate, callers_max, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// When the next call may begin: its slot, which is in the past while the rate is far from its limit.
    pub(super) async fn reserve(&self, store: &Store, now: Timestamp) -> Result<Timestamp, StoreError> {
        loop {
            let (give, take) = oneshot::channel();
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(give);
            let turn = self.turn.lock().await;
            let waiting = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                self.hand_out(store, now, waiting).await?;
            }
            drop(turn);
            // Without an answer, whoever reserved for us failed or was given up: our turn to try.
            if let Ok(slot) = take.await {
                return Ok(slot);
            }
        }
    }

    async fn hand_out(
        &self,
        store: &Store,
        now: Timestamp,
        waiting: Vec<oneshot::Sender<Timestamp>>,
    ) -> Result<(), StoreError> {
        let (share, floor) = (self.rate.share_us(), now.as_microsecond());
        let queue = share.saturating_mul(i64::from(self.callers_max));
        let ceiling = floor.saturating_add(self.rate.burst_us()).saturating_add(queue);
        let more = share.saturating_mul(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        let spoken_for = store.speak_for_calls(floor, ceiling, more).await?;
        for (slot, caller) in self.rate.slots(waiting.len(), spoken_for).zip(waiting) {
            // A caller that has gone leaves its slot unused.
            let _ = caller.send(slot);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_begins_at_once_and_then_one_share_after_the_other() {
        let rate = Rate { per_second: 10, burst: 3 };
        let now = 1_000_000_000;
        let begin: Vec<i64> = rate.slots(5, now + 500_000).map(|slot| slot.as_microsecond() - now).collect();
        assert_eq!(begin, [-200_000, -100_000, 0, 100_000, 200_000]);
    }

    #[test]
    fn what_is_used_of_the_burst_is_told_within_its_bounds() {
        let rate = Rate { per_second: 10, burst: 3 };
        let now = Timestamp::from_microsecond(1_000_000_000).expect("a time");
        let used = |ahead: i64| rate.used(now, now.as_microsecond() + ahead);
        assert_eq!([-1, 0, 1, 100_000, 250_000, 9_000_000].map(used), [0, 0, 1, 1, 3, 3]);
    }
}
