//! Logs and metrics: what a process says about itself.
//!
//! A log line is a message and fields, one name per thing, the unit in the name. No secret, signature or personal datum
//! is logged at any level.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}

/// Sends this process's log lines to standard error.
///
/// `filter` is in `RUST_LOG`'s language, e.g. `info,keyferry::worker=debug`.
pub fn log(filter: &str, format: LogFormat) -> Result<(), TryInitError> {
    let filter = EnvFilter::builder().parse_lossy(filter);
    // lapin logs a returned message whole, body included.
    let filter = match "lapin::returned_messages=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    }
}

/// Collects this process's metrics; `/metrics` renders the handle.
pub fn metrics() -> Result<PrometheusHandle, BuildError> {
    /// From a fast commit to a provider's deadline.
    const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
}
