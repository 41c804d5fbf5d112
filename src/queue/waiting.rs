//! The room where batches wait to be made durable: in front of the embedded inbox as in front of RabbitMQ.
//!
//! It has a number of places and a deadline, and it holds no opinion on what happens behind it. Whoever serves it takes
//! *everything that waits* at once: the busier it is, the larger the groups and the less each of them costs.

use std::sync::Arc;
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
    queue: mpsc::UnboundedSender<Submission>,
    places: Arc<Semaphore>,
    places_max: usize,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    in_flight: Gauge,
}

/// The room's other end: groups of submissions come out. Several may serve it.
#[derive(Clone)]
pub(super) struct Counter {
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Submission>>>,
}

/// A batch, and who waits for it.
pub(super) struct Submission {
    pub(super) batch: Vec<Envelope>,
    answer: oneshot::Sender<Result<(), PublishError>>,
    /// Given back when the batch has been answered, not when its sender gave up: what is still with the broker counts.
    _places: Places,
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
        self.queue.send(Submission { batch, answer, _places: places }).map_err(|_closed| ended())?;
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
        loop {
            let mut group = vec![queue.recv().await?];
            let mut envelopes = group[0].batch.len();
            while envelopes < envelopes_max
                && let Ok(next) = queue.try_recv()
            {
                envelopes += next.batch.len();
                group.push(next);
            }
            group.retain(|submission| !submission.answer.is_closed());
            if !group.is_empty() {
                return Some(group);
            }
        }
    }

    /// Lets nobody in any more; who is in will still be served.
    pub(super) async fn close(&self) {
        self.queue.lock().await.close();
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
