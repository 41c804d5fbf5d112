//! Keyferry: the webhook endpoint between *this phone is registered* and *the door opens for it*.

pub mod clock;
pub mod http;
pub mod sandbox;
