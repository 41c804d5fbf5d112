//! Reading a request's body within its limits: bytes, time, and what all bodies together may hold in memory.

use std::io;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use memmap2::MmapMut;
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
        let mut joined: Option<Joined> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Rejection::BodyBroken)?.into_data() else { continue };
            let there = joined.as_ref().map_or(held.bytes.len(), Joined::len);
            if there + data.len() > limit {
                return Err(Rejection::BodyTooLarge);
            }
            self.take(&mut held, data.len())?;
            match &mut joined {
                // Nearly every webhook arrives in one piece, which is then used as it is; but a small one is a part of the
                // connection's buffer, which would have to be replaced for the next request.
                None if held.bytes.is_empty() && data.len() <= COPIED_BYTES_MAX => {
                    held.bytes = Bytes::copy_from_slice(&data);
                }
                None if held.bytes.is_empty() => held.bytes = data,
                None => {
                    // Once and for the whole: growing step by step costs twice as much.
                    let whole = body
                        .size_hint()
                        .exact()
                        .map_or(limit, |rest| there + data.len() + usize::try_from(rest).unwrap_or(limit));
                    let joined = joined.insert(Joined::with_room(whole).map_err(|_| Rejection::NoRoom)?);
                    joined.push(&std::mem::take(&mut held.bytes));
                    joined.push(&data);
                }
                Some(joined) => joined.push(&data),
            }
        }
        if let Some(joined) = joined {
            held.bytes = joined.into_bytes();
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

/// A body put together from its pieces.
///
/// A large one has a mapping of its own, which is the system's again as soon as nobody has the body any more. Among the
/// small things of the heap, large ones come and go at the price of holes: a flood of them would be over, and what it
/// took still with us.
enum Joined {
    Heap(BytesMut),
    Mapped { map: MmapMut, filled: usize },
}

/// The bytes of a mapping that were filled.
struct Filled(MmapMut, usize);

impl Joined {
    /// From here on, a mapping costs less than it saves.
    const MAPPED_BYTES_MIN: usize = 32 * 1024;

    fn with_room(bytes: usize) -> io::Result<Self> {
        if bytes < Self::MAPPED_BYTES_MIN {
            return Ok(Self::Heap(BytesMut::with_capacity(bytes)));
        }
        MmapMut::map_anon(bytes).map(|map| Self::Mapped { map, filled: 0 })
    }

    fn len(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.len(),
            Self::Mapped { filled, .. } => *filled,
        }
    }

    /// Within the room that there is.
    fn push(&mut self, piece: &[u8]) {
        match self {
            Self::Heap(bytes) => bytes.extend_from_slice(piece),
            Self::Mapped { map, filled } => {
                map[*filled..*filled + piece.len()].copy_from_slice(piece);
                *filled += piece.len();
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Heap(bytes) => bytes.freeze(),
            Self::Mapped { map, filled } => Bytes::from_owner(Filled(map, filled)),
        }
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const LIMIT: usize = 256 * 1024;

    /// A body in pieces, and what it is as a whole.
    fn body(pieces: u8, of: usize) -> (Body, Vec<u8>) {
        let piece = move |number: u8| vec![number; of];
        let stream = stream::iter((0..pieces).map(move |number| Ok::<_, Infallible>(piece(number))));
        (Body::from_stream(stream), (0..pieces).flat_map(piece).collect())
    }

    #[tokio::test]
    async fn pieces_are_joined_and_the_room_is_given_back() {
        let room = Room::new(LIMIT);
        for (pieces, of) in [(0, 0), (1, 10), (3, 10), (3, 20_000), (50, 5_000)] {
            let (body, whole) = body(pieces, of);
            let held = room.read(body, LIMIT).await.expect("it fits");
            assert_eq!(held.bytes, whole, "{pieces} pieces of {of} bytes");
            assert_eq!(room.0.available_permits(), LIMIT - whole.len());
            drop(held);
            assert_eq!(room.0.available_permits(), LIMIT);
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_at_the_piece_that_is_too_much() {
        let room = Room::new(LIMIT);
        let too_large = room.read(body(3, LIMIT / 2).0, LIMIT).await;
        assert!(matches!(too_large, Err(Rejection::BodyTooLarge)));
        let _held = room.read(body(2, LIMIT / 4).0, LIMIT).await.expect("it fits");
        assert!(matches!(room.read(body(3, LIMIT / 4).0, LIMIT).await, Err(Rejection::NoRoom)));
        assert_eq!(room.0.available_permits(), LIMIT / 2, "what was refused has given back its part");
    }

    #[test]
    fn small_bodies_are_of_the_heap_and_large_ones_of_the_system() {
        assert!(matches!(Joined::with_room(1000), Ok(Joined::Heap(_))));
        assert!(matches!(Joined::with_room(200_000), Ok(Joined::Mapped { filled: 0, .. })));
    }
}
