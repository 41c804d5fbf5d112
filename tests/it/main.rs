//! One test binary: one file or folder per feature.

mod provider;
mod queue;
mod receiver;
mod store;
mod support;
