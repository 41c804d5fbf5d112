//! Keyferry: the webhook endpoint between *this phone is registered* and *the door opens for it*.

pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod lifecycle;
pub mod ops;
pub mod provider;
pub mod queue;
pub mod receiver;
pub mod sandbox;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod worker;
