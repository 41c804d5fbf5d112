//! Events that the provider has listed and no webhook brought: pulled, and taken into the inbox as if it had.
//!
//! An endpoint that was disabled, or a webhook that was lost with all its repetitions, leaves no trace here; the
//! provider's own list has it. The inbox tells by source and event id what came by webhook already.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::Settings;
use crate::clock::{self, Clock};
use crate::provider::{ListedEvent, Provider, ProviderError};
use crate::queue::Envelope;
use crate::store::{Store, StoreError};

/// Reads a listed event as the webhook would have been read that brings it.
pub type ReadListed = Arc<dyn Fn(&ListedEvent, Timestamp) -> Vec<Envelope> + Send + Sync>;

/// The name of the watermark.
const EVENTS: &str = "events";

/// How long one pull may take before another process may pull as well.
const LEASE: SignedDuration = SignedDuration::from_mins(5);

/// The longest stretch of time that is asked for at once, and the shortest: the list has no cursor, and one that is too
/// long is refused.
const STRETCH_MAX: SignedDuration = SignedDuration::from_hours(1);
const STRETCH_MIN: SignedDuration = SignedDuration::from_secs(10);

/// Why a pull came to nothing. The next one begins where it did.
#[derive(Debug, thiserror::Error)]
pub enum MissedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// What a pull has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Somebody else pulls, or has just done so.
    NotNow,
    UpToDate {
        missed: usize,
    },
    /// There is more between then and now.
    Behind {
        missed: usize,
    },
}

/// Pulls.
pub struct Missed {
    store: Store,
    provider: Arc<dyn Provider>,
    clock: Arc<dyn Clock>,
    read: ReadListed,
    every: SignedDuration,
    overlap: SignedDuration,
    grace: SignedDuration,
    stretch_ms: AtomicI64,
}

impl Missed {
    #[must_use]
    pub fn new(
        store: Store,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        read: ReadListed,
        settings: &Settings,
    ) -> Self {
        let Settings { missed_every: every, missed_overlap: overlap, missed_grace: grace, .. } = *settings;
        let stretch_ms = AtomicI64::new(millis(STRETCH_MAX));
        Self { store, provider, clock, read, every, overlap, grace, stretch_ms }
    }

    /// Pulls one stretch of the list, from a little before where the last one ended.
    pub async fn step(&self) -> Result<Pulled, MissedError> {
        let now = self.clock.now();
        let Some(watermark) = self.store.take_watermark(EVENTS, clock::add(now, LEASE)).await? else {
            return Ok(Pulled::NotNow);
        };
        // What happened just now may still be on its way by webhook.
        let newest = clock::add(now, -self.grace);
        let stretch = SignedDuration::from_millis(self.stretch_ms.load(Ordering::Relaxed));
        let until = clock::add(watermark.at, stretch).min(newest);
        let listed = if until > watermark.at {
            self.provider.list_events(clock::add(watermark.at, -self.overlap), until).await
        } else {
            Ok(Vec::new())
        };
        self.adapt(stretch, listed.is_ok());
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                self.store.move_watermark(&watermark, watermark.at, clock::add(now, self.every)).await?;
                return Err(error.into());
            }
        };
        let envelopes = listed.iter().flat_map(|event| (self.read)(event, now)).collect();
        let missed = self.store.take_in(envelopes).await?;
        if missed > 0 {
            tracing::warn!(missed, "the provider has listed events that no webhook brought");
            metrics::counter!("keyferry_missed_events_total").increment(u64::try_from(missed).unwrap_or(u64::MAX));
        }
        let is_behind = until < newest;
        let free_at = if is_behind { now } else { clock::add(now, self.every) };
        self.store.move_watermark(&watermark, until.max(watermark.at), free_at).await?;
        Ok(if is_behind { Pulled::Behind { missed } } else { Pulled::UpToDate { missed } })
    }

    /// Asks for less after a failure, since the list may have been too long, and for more after a success.
    fn adapt(&self, stretch: SignedDuration, is_ok: bool) {
        let next = if is_ok { (stretch * 2).min(STRETCH_MAX) } else { (stretch / 2).max(STRETCH_MIN) };
        self.stretch_ms.store(millis(next), Ordering::Relaxed);
    }
}

fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
