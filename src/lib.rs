//! Keyferry: the webhook endpoint between *this phone is registered* and *the door opens for it*.
//!
//! # The map
//!
//! Data flows down this list; `tests/it/tidy.rs` holds the arrows.
//!
//! | room | what it does |
//! |---|---|
//! | [`domain`] | the words and the rules: facts, plans, issuances, outcomes; pure |
//! | [`clock`] | time, chance and ids, as arguments |
//! | [`http`] | the accept loop with limits under every port |
//! | [`receiver`] | proves a webhook's sender, reads the event, has it made durable, answers |
//! | [`queue`] | the way to the inbox: through RabbitMQ, or directly |
//! | [`store`] | the inbox, plans, issuances, phone keys, what is parked, the ledger; SQLite or PostgreSQL |
//! | [`provider`] | Seam's API: one attempt per call |
//! | [`worker`] | claims events, ensures credentials, reads where they stand, records |
//! | [`sweep`] | puts into the front of the flow what should have come by itself |
//! | [`ops`] | the API for operators and the customer's systems; reads, and puts into the front of the flow |
//! | [`sandbox`] | a Seam-compatible server, the other end of demos and tests |
//! | [`config`], [`telemetry`], [`lifecycle`] | what a process is told, says, and how it ends |
//! | [`service`] | joins the parts into roles |
//! | [`doctor`] | looks at a set-up from outside, and says what is wrong with it |
//! | [`cli`] | the commands |
//!
//! # What must stay true
//!
//! 1. A 2xx is sent only for what is durable: a broker's confirm, or an fsynced commit.
//! 2. Every accepted event ends in exactly one of done, ignored, parked. None vanishes; none stays in flight for ever.
//! 3. At most one live credential per plan at the provider, whatever crashes, repeats or races.
//! 4. The final state does not depend on the order or the number of deliveries of the same events.
//! 5. A state is never ahead of the provider: `issued` has been read from the provider's object.
//! 6. The same behaviour on the embedded store and on RabbitMQ + PostgreSQL.
//! 7. No secret, signature or personal datum in a log, an error or a metric.
//! 8. Everything has a limit, written in one place.
//!
//! # What is absent, on purpose
//!
//! The receiver knows no store and no provider. The provider's client never repeats a call by itself. Only the worker
//! changes an issuance; operators act by putting something into the front of the flow, never by editing a row. The
//! sandbox shares no type with the client that talks to it: they agree through `schemas/seam`. Nothing reads the time,
//! the environment or chance except where it was handed in. There is no "verification: none".

pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
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
pub mod sweep;
pub mod telemetry;
pub mod worker;
