//! The room where batches wait to be made durable: in front of the embedded inbox as in front of RabbitMQ.
//!
//! It has a number of places and a deadline, and it holds no opinion on what happens behind it. Whoever serves it takes
//! *everything that waits* at once: the busier it is, the larger the groups and the less each of them costs.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use metrics::{Gauge, describe_gauge, gauge};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Envelope, PublishError};
use crate::clock::Clock;

const IN_FLIGHT: &str = "keyferry_queue_publishes_in_flight";

/// The room's door: batches go in.
#[derive(Clone)]
pub(super) struct Door {
    queue: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
    places_max: usize,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    in_flight: Gauge,
}

/// The room's other end: groups of submissions come out. Several may serve it.
#[derive(Clone)]
pub(super) struct Counter {
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Waiting>>>,
}

/// A batch, and who waits for it.
pub(super) struct Submission {
    pub(super) batch: Vec<Envelope>,
    answer: oneshot::Sender<Result<(), PublishError>>,
    /// Given back when the batch has been answered, not when its sender gave up: what is still with the broker counts.
    _places: Places,
}

/// A submission that nobody serves yet.
struct Waiting {
    batch: Shared,
    answer: oneshot::Sender<Result<(), PublishError>>,
    places: Places,
}

/// A batch that belongs to whoever takes it first: the counter, to serve it, or the sender that gives up. So what nobody
/// waits for any more holds no memory, however long nothing is served.
#[derive(Clone)]
struct Shared(Arc<std::sync::Mutex<Vec<Envelope>>>);

impl Shared {
    /// Empty where somebody else was faster.
    fn take(&self) -> Vec<Envelope> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The sender's hold on its batch, let go of when it gives up in whatever way.
struct Hold(Shared);

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// Places taken, and told of.
struct Places {
    _permit: OwnedSemaphorePermit,
    count: u32,
    in_flight: Gauge,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.in_flight.decrement(f64::from(self.count));
    }
}

/// `places_max` counts envelopes, those being made durable included.
pub(super) fn room(places_max: usize, deadline: Duration, clock: Arc<dyn Clock>) -> (Door, Counter) {
    describe_gauge!(IN_FLIGHT, "Events on their way into the queue, out of queue.in_flight_max");
    // The permits are what bounds the channel.
    let (sender, receiver) = mpsc::unbounded_channel();
    let places_max = places_max.clamp(1, Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(places_max));
    let door = Door { queue: sender, places, places_max, deadline, clock, in_flight: gauge!(IN_FLIGHT) };
    (door, Counter { queue: Arc::new(Mutex::new(receiver)) })
}

impl Door {
    /// Waits until the batch is durable, but no longer than the deadline: for a place, and then for an answer.
    pub(super) async fn submit(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut deadline = self.clock.sleep(SignedDuration::try_from(self.deadline).unwrap_or(SignedDuration::MAX));
        // A batch of more than there are places takes them all.
        let count = u32::try_from(batch.len().min(self.places_max)).unwrap_or(u32::MAX);
        let places = tokio::select! {
            biased;
            places = Arc::clone(&self.places).acquire_many_owned(count) => places.map_err(|_closed| ended())?,
            () = &mut deadline => return Err(PublishError::Full),
        };
        self.in_flight.increment(f64::from(count));
        let places = Places { _permit: places, count, in_flight: self.in_flight.clone() };
        let (answer, answered) = oneshot::channel();
        let batch = Shared(Arc::new(std::sync::Mutex::new(batch)));
        let _hold = Hold(batch.clone());
        self.queue.send(Waiting { batch, answer, places }).map_err(|_closed| ended())?;
        tokio::select! {
            biased;
            answer = answered => answer.unwrap_or_else(|_dropped| Err(lost())),
            () = &mut deadline => Err(PublishError::Deadline(self.deadline)),
        }
    }
}

impl Counter {
    /// Waits for a submission and takes those behind it as well, up to `envelopes_max` envelopes where the first does
    /// not exceed that alone. `None` when the room is closed and empty.
    pub(super) async fn group(&self, envelopes_max: usize) -> Option<Vec<Submission>> {
        // Held while waiting for work, never while doing it.
        let mut queue = self.queue.lock().await;
        let (mut group, mut envelopes) = (Vec::new(), 0);
        while group.is_empty() || envelopes < envelopes_max {
            let next = if group.is_empty() { Some(queue.recv().await?) } else { queue.try_recv().ok() };
            let Some(next) = next else { break };
            if let Some(submission) = next.claim() {
                envelopes += submission.batch.len();
                group.push(submission);
            }
        }
        Some(group)
    }

    /// Lets nobody in any more; who is in will still be served.
    pub(super) async fn close(&self) {
        self.queue.lock().await.close();
    }
}

impl Waiting {
    /// `None`: its sender has given up.
    fn claim(self) -> Option<Submission> {
        let batch = self.batch.take();
        (!batch.is_empty()).then_some(Submission { batch, answer: self.answer, _places: self.places })
    }
}

impl Submission {
    pub(super) fn answer(self, answer: Result<(), PublishError>) {
        // Whoever gave up in the meantime has told its sender to come again.
        let _ = self.answer.send(answer);
    }
}

fn ended() -> PublishError {
    PublishError::Unavailable("publishing has ended".to_owned())
}

fn lost() -> PublishError {
    PublishError::Unavailable("the connection was lost before an answer came".to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::clock::ManualClock;
    use crate::queue::envelope::tests::some_envelope;

    /// A body's bytes, which can be asked whether anybody still has them.
    struct Body(#[expect(dead_code, reason = "only held")] Arc<()>);

    impl AsRef<[u8]> for Body {
        fn as_ref(&self) -> &[u8] {
            b"{}"
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_let_go_of_and_not_served() {
        let deadline = Duration::from_secs(5);
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        let (door, counter) = room(8, deadline, Arc::new(clock.clone()));
        let held = Arc::new(());
        let batch = || vec![Envelope { body: Bytes::from_owner(Body(Arc::clone(&held))), ..some_envelope() }];

        let publish = |batch| {
            let door = door.clone();
            tokio::spawn(async move { door.submit(batch).await })
        };
        let (too_late, hung_up) = (publish(batch()), publish(batch()));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&held), 3, "two wait");
        hung_up.abort();
        assert!(hung_up.await.expect_err("it was ended").is_cancelled());
        clock.advance(SignedDuration::try_from(deadline).expect("short"));
        assert!(matches!(too_late.await.expect("no panic"), Err(PublishError::Deadline(_))));
        assert_eq!(Arc::strong_count(&held), 1, "although nobody has served them yet");

        let served = publish(vec![some_envelope()]);
        let group = counter.group(8).await.expect("the room is open");
        assert_eq!(group.len(), 1, "only the one that is waited for");
        for submission in group {
            submission.answer(Ok(()));
        }
        served.await.expect("no panic").expect("durable");
    }
}
