//! Senders as they are: at it all the time, and at it again until they are told 2xx.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::{join, join_all};
use keyferry::clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::town::{APP_SECRET, Town};
use super::wait;

/// Far longer than any story's trouble lasts.
const PATIENCE: Duration = Duration::from_mins(2);
const SENDERS: usize = 4;
/// Between two events of one sender: all of them together are about as many as a hotel of a thousand rooms has in an
/// hour, every minute.
const PAUSE: Duration = Duration::from_millis(250);

/// How it went for the senders.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) events: usize,
    /// Attempts that brought no 2xx.
    pub(crate) refused: usize,
}

impl Town {
    /// Registrations of these people, one after the other from each of a few senders, for as long as `trouble` lasts;
    /// and each again until it is taken.
    pub(crate) async fn under_load<T>(&self, stays: &[Value], trouble: impl Future<Output = T>) -> (T, Tally) {
        let (over, tally) = (Cell::new(false), Cell::new(Tally::default()));
        let sender = async |number: usize| {
            for turn in number.. {
                let refused = self.deliver_registered(&stays[turn % stays.len()]).await;
                let sum = tally.get();
                tally.set(Tally { events: sum.events + 1, refused: sum.refused + refused });
                if over.get() {
                    return;
                }
                wait::pause(PAUSE).await;
            }
        };
        let trouble = async {
            let outcome = trouble.await;
            over.set(true);
            outcome
        };
        let (outcome, _) = join(trouble, join_all((0..SENDERS).map(sender))).await;
        println!("under load: {:?}", tally.get());
        (outcome, tally.get())
    }

    /// One registration as the customer's backend sends it. Returns how many attempts were in vain.
    pub(crate) async fn deliver_registered(&self, stay: &Value) -> usize {
        let event_id = format!("registered-{:016x}", SystemEntropy.next_u64());
        self.deliver("app", APP_SECRET, &registered(&event_id, stay, None).to_string()).await
    }

    /// Sends until it is taken, under one id. Returns how many attempts were in vain.
    pub(crate) async fn deliver(&self, source: &str, secret: &str, body: &str) -> usize {
        let id = delivery_id();
        let mut refused = 0;
        let taken = wait::up_to(PATIENCE, async || {
            let status = self.post(source, secret, &id, body).await;
            if status.is_some_and(|status| status.is_success()) {
                return Some(());
            }
            assert!(status.is_none_or(|status| status == StatusCode::SERVICE_UNAVAILABLE), "answered {status:?}");
            refused += 1;
            wait::pause(Duration::from_millis(50)).await;
            None
        });
        assert!(taken.await.is_some(), "a sender was refused {refused} times, and gave up");
        refused
    }
}

pub(crate) fn delivery_id() -> String {
    format!("msg_{:016x}", SystemEntropy.next_u64())
}

pub(crate) fn registered(event_id: &str, stay: &Value, device_id: Option<&str>) -> Value {
    let mut event = json!({
        "event_id": event_id,
        "event_type": "phone.registered",
        "occurred_at": format!("{:.3}", SystemClock.now()),
        "user_identity_id": stay["user_identity_id"],
    });
    if let Some(device_id) = device_id {
        event["device_id"] = device_id.into();
    }
    event
}
