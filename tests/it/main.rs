//! One test binary: one file or folder per feature.

#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test says by panicking what is wrong")]

mod compose;
mod docs;
mod doctor;
mod faults;
mod fuzz;
mod hostile;
mod main_job;
mod ops;
mod provider;
mod queue;
mod receiver;
mod sandbox;
mod service;
mod sim;
mod soak;
mod store;
mod support;
mod tidy;
mod worker;
