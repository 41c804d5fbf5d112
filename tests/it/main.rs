//! One test binary: one file or folder per feature.

mod provider;
mod receiver;
mod store;
mod support;
