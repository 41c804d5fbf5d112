//! What was put aside for a person: shown with its bytes, released, discarded.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::reply::{Answer, Refusal};
use super::request::{Page, Params, Segment};
use super::{Api, Desk, wire};
use crate::store::{ParkedItem, Settled};

/// Bodies are large and pages are long: a page ends early once its bodies are this large together.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
const ITEMS_PER_READ: u32 = 16;

pub(super) async fn list(State(desk): State<Arc<Desk>>, Params(page): Params<Page>) -> Answer<Json<wire::ParkedItems>> {
    let (items, next) = desk.api.parked_page(&page).await?;
    let parked = items.into_iter().map(wire::ParkedItem::from).collect();
    Ok(Json(wire::ParkedItems { parked, next: next.map(|id| id.to_string()) }))
}

pub(super) async fn get(State(desk): State<Arc<Desk>>, Segment(id): Segment) -> Answer<Json<wire::ParkedItem>> {
    Ok(Json(desk.api.parked_item(id).await?.into()))
}

/// The body as it came, and as nothing that a browser would open.
pub(super) async fn raw(State(desk): State<Arc<Desk>>, Segment(id): Segment) -> Answer<impl IntoResponse> {
    let item = desk.api.parked_item(id).await?;
    let disposition = format!("attachment; filename=\"parked-{}\"", item.id);
    Ok(([(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, disposition)], item.body))
}

pub(super) async fn release(State(desk): State<Arc<Desk>>, Segment(id): Segment) -> Answer<Json<wire::Settled>> {
    let api = &desk.api;
    let item = api.parked_item(id).await?;
    let settled = if let Some(event) = &item.event {
        api.store.release_event(&item, event).await?
    } else {
        let readable = (api.reread)(&item).map_err(Refusal::StillUnreadable)?;
        api.store.release_delivery(&item, readable).await?
    };
    answer(&item, settled, "released")
}

pub(super) async fn discard(State(desk): State<Arc<Desk>>, Segment(id): Segment) -> Answer<Json<wire::Settled>> {
    let item = desk.api.parked_item(id).await?;
    let settled = desk.api.store.discard(&item).await?;
    answer(&item, settled, "discarded")
}

fn answer(item: &ParkedItem, settled: Settled, state: &str) -> Answer<Json<wire::Settled>> {
    match settled {
        Settled::Done => Ok(Json(wire::Settled { id: item.id, state: state.to_owned() })),
        // Somebody else was faster.
        Settled::NotParked => Err(not_parked(item.id.to_string())),
        Settled::IdTaken => Err(Refusal::StillUnreadable(
            "its event's id is taken by another body: only discarding it is left".to_owned(),
        )),
    }
}

fn not_parked(id: String) -> Refusal {
    Refusal::NotFound { what: "parked item (it may have been released or discarded already)", id }
}

impl Api {
    async fn parked_item(&self, id: String) -> Answer<ParkedItem> {
        let item = match id.parse() {
            Ok(number) => self.store.parked_item(number).await?,
            Err(_) => None,
        };
        item.ok_or_else(|| not_parked(id))
    }

    /// One page, and the id to go on after where there may be more.
    async fn parked_page(&self, page: &Page) -> Answer<(Vec<ParkedItem>, Option<i64>)> {
        let limit = page.limit()? as usize;
        let mut after = page.numeric_cursor()?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        loop {
            let read = self.store.parked(after, ITEMS_PER_READ).await?;
            let is_last = read.len() < ITEMS_PER_READ as usize;
            for item in read {
                if items.len() == limit || bytes >= PAGE_BYTES {
                    return Ok((items, Some(after)));
                }
                after = item.id;
                bytes += item.body.len();
                items.push(item);
            }
            if is_last {
                return Ok((items, None));
            }
        }
    }
}

impl From<ParkedItem> for wire::ParkedItem {
    fn from(item: ParkedItem) -> Self {
        let (event_id, event_type) = item.event.map(|event| (event.event_id, event.event_type)).unzip();
        Self {
            id: item.id,
            source: item.source,
            delivery_id: item.delivery_id,
            event_id,
            event_type,
            why: item.why,
            received_at: wire::Time(item.received_at),
            headers: item.headers,
            body_base64: STANDARD.encode(&item.body),
        }
    }
}
