//! The receiver as its senders see it: bytes in, status out, and what it published in between.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]

mod answers;
mod bodies;
mod connections;
mod contracts;
mod explain;
mod kinds;
mod observed;
mod proof;
mod send;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::ManualClock;
use keyferry::http;
use keyferry::queue::{Envelope, PublishError, Publisher};
use keyferry::receiver::verify::Secret;
use keyferry::receiver::{self, Kind, Limits, Receiver, Source};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Seconds since 1970 of the recorded deliveries, and what every clock here starts at.
const SENT_AT: i64 = 1_772_361_605;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const APP_SECRET: &str = "whsec_plJ3nmyCDGBKInavdOK15jslplJ3nmyCDGBKInavdOK15jsl";
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// No wait in this suite is meant to last; this is when a hanging one fails.
const DEADLINE: Duration = Duration::from_secs(20);

fn secret(text: &str) -> Secret {
    Secret::parse(text).expect("a good secret")
}

fn sent_at() -> Timestamp {
    Timestamp::from_second(SENT_AT).expect("a timestamp")
}

fn seam() -> Source {
    Source::new("seam", Kind::Seam, vec![secret(SECRET), secret(OLD_SECRET)], TOLERANCE).expect("a good source")
}

fn app() -> Source {
    Source::new("app", Kind::Standard, vec![secret(APP_SECRET)], TOLERANCE).expect("a good source")
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/webhook/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What becomes of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Durable,
    Unavailable,
    Never,
}

/// A publisher that remembers.
#[derive(Debug)]
struct Recorder {
    fate: Fate,
    published: Mutex<Vec<Envelope>>,
}

#[async_trait]
impl Publisher for Recorder {
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        match self.fate {
            Fate::Durable => self.published.lock().expect("no test panics with it").extend(batch),
            Fate::Unavailable => return Err(PublishError::Unavailable("the broker is down".to_owned())),
            Fate::Never => std::future::pending().await,
        }
        Ok(())
    }
}

/// A receiver on a port of its own, with sources `seam` and `app`.
struct Served {
    at: SocketAddr,
    clock: ManualClock,
    recorder: Arc<Recorder>,
    end: CancellationToken,
    server: JoinHandle<usize>,
}

impl Served {
    async fn start() -> Self {
        Self::with(Fate::Durable, Limits::default(), http::Limits::default()).await
    }

    async fn with(fate: Fate, limits: Limits, connection_limits: http::Limits) -> Self {
        let clock = ManualClock::starting_at(sent_at());
        let recorder = Arc::new(Recorder { fate, published: Mutex::default() });
        let publisher: Arc<dyn Publisher> = recorder.clone();
        let receiver = Receiver::new([seam(), app()], publisher, Arc::new(clock.clone()), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("a bound port");
        let end = CancellationToken::new();
        let server = tokio::spawn(http::serve(listener, receiver::router(receiver), connection_limits, end.clone()));
        Self { at, clock, recorder, end, server }
    }

    /// What was published since the last question.
    fn published(&self) -> Vec<Envelope> {
        std::mem::take(&mut self.recorder.published.lock().expect("no test panics with it"))
    }

    /// Ends it; how many connections had to be cut.
    async fn stop(self) -> usize {
        self.end.cancel();
        tokio::time::timeout(DEADLINE, self.server).await.expect("it drains").expect("it does not panic")
    }
}
