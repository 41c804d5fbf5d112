//! The sandbox as its callers see it: Seam's API, webhooks and the control room, over real sockets and with a clock that
//! moves when told to.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]

mod agreed;
mod crowd;
mod faults;
mod house;
mod life;
mod restart;
mod systems;
mod webhooks;
mod wire;
