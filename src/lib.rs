//! Keyferry: the webhook endpoint between *this phone is registered* and *the door opens for it*.

pub mod cli;
pub mod clock;
pub mod domain;
pub mod http;
pub mod ops;
pub mod provider;
pub mod queue;
pub mod receiver;
pub mod sandbox;
pub mod store;
pub mod worker;
