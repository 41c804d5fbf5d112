//! How a request can end: the closed list that `reply` turns into an answer and `observe` into a log line and counters.

use crate::queue::PublishError;

use super::verify::Refusal;

/// Durable, and answered with success.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// The types of the events that are in the queue: one, but for a batch.
    pub(super) event_types: Vec<String>,
    /// The sender is genuine and these parts of the body make no sense: why each is in the queue to be parked.
    pub(super) unreadable: Vec<String>,
}

/// Not accepted, and nothing of it is kept, but perhaps for [`Rejection::NotDurable`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    #[error("the body is larger than the limit")]
    BodyTooLarge,
    #[error("the body is compressed or not JSON")]
    NotJson,
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    #[error("the body was cut off or its framing is broken")]
    BodyBroken,
    #[error("too many bodies are being held already")]
    NoRoom,
    #[error("not taken for its sender's: {0}")]
    Refused(#[from] Refusal),
    #[error("not known to be durable: {0}")]
    NotDurable(#[from] PublishError),
}

/// How a request ended.
pub(super) type Outcome = Result<Accepted, Rejection>;

/// An outcome's name in metrics and logs.
pub(super) fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(accepted) if accepted.unreadable.is_empty() => "accepted",
        Ok(_) => "unreadable",
        Err(Rejection::BodyTooLarge) => "body_too_large",
        Err(Rejection::NotJson) => "not_json",
        Err(Rejection::BodyTooSlow) => "body_too_slow",
        Err(Rejection::BodyBroken) => "body_broken",
        Err(Rejection::NoRoom) => "no_room",
        Err(Rejection::Refused(_)) => "refused",
        Err(Rejection::NotDurable(_)) => "not_durable",
    }
}
