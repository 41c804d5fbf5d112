//! The ops port's stories: the real router on a real socket, over a store of its own and a provider that is a list.
//! Every answer that a story gets is held against `schemas/api/openapi.json`.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]

mod access;
mod client;
mod issuances;
mod ledger;
mod office;
mod openapi;
mod parked;
mod plans;
mod registry;
mod status;
