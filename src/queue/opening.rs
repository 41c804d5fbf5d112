//! A queue that is not there yet: whoever publishes waits for it a little, and is told to come again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::SetOnce;

use super::{Envelope, PublishError, Publisher};
use crate::clock::Clock;

/// Waits until it is opened and publishes, both within one deadline. Clones are the same one.
#[derive(Clone)]
pub struct Opening {
    opened: Arc<SetOnce<Arc<dyn Publisher>>>,
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl Opening {
    #[must_use]
    pub fn new(deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { opened: Arc::default(), deadline, clock }
    }

    /// From now on everything goes through `publisher`; a second one is ignored.
    pub fn open(&self, publisher: Arc<dyn Publisher>) {
        // Whoever was first is as good: nobody opens twice.
        let _ = self.opened.set(publisher);
    }
}

#[async_trait]
impl Publisher for Opening {
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        if let Some(publisher) = self.opened.get() {
            return publisher.publish(batch).await;
        }
        tokio::select! {
            biased;
            published = async { self.opened.wait().await.publish(batch).await } => published,
            () = self.clock.sleep(SignedDuration::try_from(self.deadline).unwrap_or(SignedDuration::MAX)) => {
                Err(match self.opened.get() {
                    Some(_) => PublishError::Deadline(self.deadline),
                    None => PublishError::Unavailable("the store is not open yet".to_owned()),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt as _;
    use jiff::Timestamp;

    use super::*;
    use crate::clock::ManualClock;
    use crate::queue::envelope::tests::some_envelope;

    /// Never confirms.
    struct Silent;

    #[async_trait]
    impl Publisher for Silent {
        async fn publish(&self, _: Vec<Envelope>) -> Result<(), PublishError> {
            pending().await
        }
    }

    #[tokio::test]
    async fn the_wait_for_the_queue_and_the_wait_for_its_confirm_have_one_deadline() {
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        let opening = Opening::new(Duration::from_secs(5), Arc::new(clock.clone()));
        let mut publish = opening.publish(vec![some_envelope()]);
        assert!((&mut publish).now_or_never().is_none(), "it waits for the queue");
        clock.advance(SignedDuration::from_secs(4));
        opening.open(Arc::new(Silent));
        assert!((&mut publish).now_or_never().is_none(), "it waits for the confirm");
        clock.advance(SignedDuration::from_secs(1));
        assert!(matches!(publish.now_or_never(), Some(Err(PublishError::Deadline(_)))));
    }

    #[tokio::test]
    async fn a_queue_that_does_not_open_in_time_is_unavailable() {
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        let opening = Opening::new(Duration::from_secs(5), Arc::new(clock.clone()));
        let mut publish = opening.publish(vec![some_envelope()]);
        assert!((&mut publish).now_or_never().is_none(), "it waits for the queue");
        clock.advance(SignedDuration::from_secs(5));
        assert!(matches!(publish.now_or_never(), Some(Err(PublishError::Unavailable(_)))));
    }
}
