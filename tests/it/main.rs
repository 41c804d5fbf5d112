//! One test binary: one file or folder per feature.

mod main_job;
mod ops;
mod provider;
mod queue;
mod receiver;
mod services;
mod store;
mod support;
mod tidy;
