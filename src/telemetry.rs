//! Logs and metrics: what a process says about itself.
//!
//! A log line is a message and fields, one name per thing, the unit in the name. No secret, signature or personal datum
//! is logged at any level.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
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
/// `filter` is in `RUST_LOG`'s language, e.g. `info,keyferry::worker=debug`. What it says of everybody is said of our own
/// code: the libraries speak at info at most unless they are named (`hyper=trace`), because below it some of them log
/// what passes through them, headers and bodies included.
pub fn log(filter: &str, format: LogFormat) -> Result<(), TryInitError> {
    let filter = EnvFilter::builder().parse_lossy(with_quiet_libraries(filter));
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

/// A level for all becomes one for us, and at most info for the others.
fn with_quiet_libraries(filter: &str) -> String {
    let directives = filter.split(',').map(|directive| match directive.trim().parse::<LevelFilter>() {
        Ok(level) => format!("{},keyferry={level}", level.min(LevelFilter::INFO)),
        Err(_) => directive.to_owned(),
    });
    directives.collect::<Vec<_>>().join(",")
}

/// Collects this process's metrics; `/metrics` renders the handle.
pub fn metrics() -> Result<PrometheusHandle, BuildError> {
    /// From a fast commit to a provider's deadline.
    const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
}

#[cfg(test)]
mod tests {
    use super::with_quiet_libraries;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        for (asked, meant) in [
            ("trace", "info,keyferry=trace"),
            ("debug,hyper=trace", "info,keyferry=debug,hyper=trace"),
            ("warn", "warn,keyferry=warn"),
            ("off", "off,keyferry=off"),
            ("info,keyferry::worker=debug", "info,keyferry=info,keyferry::worker=debug"),
            ("keyferry=trace", "keyferry=trace"),
        ] {
            assert_eq!(with_quiet_libraries(asked), meant);
        }
    }
}
