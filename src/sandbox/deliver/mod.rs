//! Delivering: what happened in the world becomes signed requests to whoever asked to be told.
//!
//! [`Outbox`] is the memory (who is told what, when next, with which luck) and takes no part in the network; [`post`]
//! makes one attempt. Delivery is at least once, in no promised order, with one id over all attempts of a message.

mod outbox;
mod post;
mod schedule;
mod senders;

pub(crate) use outbox::{Attempt, Outbox};
pub(crate) use post::{client, post};
pub(crate) use senders::SenderKind;
