//! Reading a request's body within its limits: bytes, time, and what all bodies together may hold in memory.

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::outcome::Rejection;

/// Half of the smallest buffer that a connection has.
const COPIED_BYTES_MAX: usize = 4096;

/// The memory that all bodies share. Each byte is accounted for when it has arrived, not when it was announced: a
/// sender that announces much and sends nothing takes nothing from the others.
#[derive(Debug)]
pub(super) struct Room(Semaphore);

/// A body and its part of the [`Room`], given back when this is dropped.
pub(super) struct Held<'r> {
    pub(super) bytes: Bytes,
    permit: Option<SemaphorePermit<'r>>,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
    }

    /// Reads `body` to its end, unless it is larger than `limit` or all bodies together are larger than the room.
    ///
    /// A declared length over the limit is refused at once, which also keeps a `100 Continue` from being sent.
    pub(super) async fn read(&self, mut body: Body, limit: usize) -> Result<Held<'_>, Rejection> {
        if body.size_hint().lower() > limit as u64 {
            return Err(Rejection::BodyTooLarge);
        }
        let mut held = Held { bytes: Bytes::new(), permit: None };
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Rejection::BodyBroken)?.into_data() else { continue };
            if held.bytes.len() + joined.len() + data.len() > limit {
                return Err(Rejection::BodyTooLarge);
            }
            self.take(&mut held, data.len())?;
            // Nearly every webhook arrives in one piece, which is then used as it is; but a small one is a part of the
            // connection's buffer, which would have to be replaced for the next request.
            if held.bytes.is_empty() && joined.is_empty() {
                held.bytes = if data.len() > COPIED_BYTES_MAX { data } else { Bytes::copy_from_slice(&data) };
            } else {
                if joined.is_empty() {
                    // Once and for the whole, where its length was declared: growing step by step costs twice as much.
                    let rest = usize::try_from(body.size_hint().lower()).unwrap_or(limit).min(limit);
                    joined.reserve(held.bytes.len() + data.len() + rest);
                    joined.extend_from_slice(&std::mem::take(&mut held.bytes));
                }
                joined.extend_from_slice(&data);
            }
        }
        if !joined.is_empty() {
            held.bytes = joined.freeze();
        }
        Ok(held)
    }

    fn take<'r>(&'r self, held: &mut Held<'r>, bytes: usize) -> Result<(), Rejection> {
        let bytes = u32::try_from(bytes).map_err(|_| Rejection::NoRoom)?;
        let more = self.0.try_acquire_many(bytes).map_err(|_| Rejection::NoRoom)?;
        match &mut held.permit {
            Some(permit) => permit.merge(more),
            empty => *empty = Some(more),
        }
        Ok(())
    }
}
