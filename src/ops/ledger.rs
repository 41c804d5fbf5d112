//! The ledger: by pages, by plan, and as a stream that goes on where its reader stopped.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::{FutureExt as _, Stream, stream};
use http::HeaderMap;
use jiff::SignedDuration;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::{Answer, Refusal};
use super::request::{Page, Params, Segment};
use super::{Api, Desk, wire};
use crate::store::{LedgerLine, StoreError};

/// Streams at once: each looks at the store twice a second.
const FOLLOWERS_MAX: usize = 64;
const LINES_PER_LOOK: u32 = 500;
/// Other processes write too, and ring no bell here.
const LOOK_EVERY: SignedDuration = SignedDuration::from_millis(500);
/// Shows a reader that the line is up, and us that the reader is gone.
const HEARTBEAT_EVERY: SignedDuration = SignedDuration::from_secs(15);

/// The places for streams.
#[derive(Clone)]
pub(super) struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FOLLOWERS_MAX)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

/// `next` is always a number: whoever has read to the end asks with it later.
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Params(params): Params<ListParams>,
) -> Answer<Json<wire::Ledger>> {
    let limit = Page::new(params.limit, None).limit()?;
    let lines = desk.api.store.ledger(params.after, limit).await?;
    Ok(page(lines, params.after, desk.api.store.ledger_first().await?))
}

/// The last lines about one plan, in their order.
pub(super) async fn of_plan(
    State(desk): State<Arc<Desk>>,
    Segment(key): Segment,
    Params(params): Params<OfPlanParams>,
) -> Answer<Json<wire::Ledger>> {
    let limit = Page::new(params.limit, None).limit()?;
    if desk.api.store.plan(&key).await?.is_none() {
        return Err(Refusal::NotFound { what: "plan", id: key });
    }
    let lines = desk.api.store.ledger_of_plan(&key, limit).await?;
    Ok(page(lines, 0, desk.api.store.ledger_first().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfPlanParams {
    limit: Option<u32>,
}

fn page(lines: Vec<LedgerLine>, after: i64, first: i64) -> Json<wire::Ledger> {
    let next = lines.last().map_or(after, |line| line.seq);
    Json(wire::Ledger {
        ledger: lines.into_iter().map(wire::LedgerLine::from).collect(),
        next,
        first: Some(first).filter(|first| *first > 1),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamParams {
    #[serde(default)]
    after: i64,
}

/// `Last-Event-ID` counts before `after`: a browser that reconnects sends both.
pub(super) async fn stream(
    State(desk): State<Arc<Desk>>,
    Params(params): Params<StreamParams>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let after = match headers.get("last-event-id") {
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Refusal::parameter("Last-Event-ID", "it is not the number of a line"))?,
        None => params.after,
    };
    let place = Arc::clone(&desk.followers.0).try_acquire_owned().map_err(|_| Refusal::TooManyFollowers)?;
    let follower = Follower { desk, after, unsent: VecDeque::new(), _place: place };
    Ok(Sse::new(stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })))
}

/// One reader of the stream, and how far it has read.
struct Follower {
    desk: Arc<Desk>,
    after: i64,
    unsent: VecDeque<LedgerLine>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next line or heartbeat; `None` ends the stream. A reader comes back and goes on where it stopped.
    async fn next(&mut self) -> Option<Event> {
        if self.unsent.is_empty() {
            let api = &self.desk.api;
            let grown = tokio::select! {
                biased;
                () = api.shutdown.cancelled() => return None,
                grown = api.grown(self.after) => grown,
                () = api.clock.sleep(HEARTBEAT_EVERY) => return Some(Event::default().comment("still here")),
            };
            match grown {
                Ok(lines) => self.unsent = lines.into(),
                Err(error) => {
                    tracing::warn!(%error, "a ledger stream ends because the store could not be read");
                    return None;
                }
            }
        }
        let line = self.unsent.pop_front()?;
        self.after = line.seq;
        let event = Event::default().id(line.seq.to_string());
        match event.json_data(wire::LedgerLine::from(line)) {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::error!(%error, "a ledger line cannot be written as JSON");
                None
            }
        }
    }
}

impl Api {
    /// Lines after `after`, as soon as there are any.
    async fn grown(&self, after: i64) -> Result<Vec<LedgerLine>, StoreError> {
        loop {
            let mut growth = pin!(self.store.growth());
            // Polled before the look, so that what is committed during it rings.
            let has_grown = growth.as_mut().now_or_never().is_some();
            let lines = self.store.ledger(after, LINES_PER_LOOK).await?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            if !has_grown {
                tokio::select! {
                    () = growth => {}
                    () = self.clock.sleep(LOOK_EVERY) => {}
                }
            }
        }
    }
}
