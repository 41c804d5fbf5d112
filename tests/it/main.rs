//! One test binary: one file or folder per feature.

mod main_job;
mod provider;
mod queue;
mod receiver;
mod sandbox;
mod services;
mod store;
mod support;
mod tidy;
