//! `keyferry doctor`: looks at everything that a set-up stands on, and says of each thing whether it is well, what it
//! means where it is not, and what to do.
//!
//! It changes nothing anywhere. Each area is looked at by itself and at the same time as the others, within a time limit;
//! the findings come in a fixed order. No finding holds a secret.

mod broker;
mod clocks;
mod management;
mod ports;
mod provider;
mod settings;
mod store;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::clock::{Clock, Entropy};
use crate::config::{Config, Problem, Role};

/// What one area may take. Everything inside has shorter limits of its own.
const AREA_TIMEOUT: SignedDuration = SignedDuration::from_secs(20);

/// What is looked at.
pub struct Patient<'a> {
    pub role: Role,
    /// As judged, with stand-ins where there are `mistakes`.
    pub config: &'a Config,
    pub mistakes: &'a [Problem],
    /// The configuration file, where one was named.
    pub file: Option<&'a Path>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It works, and may not for ever.
    Warning,
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub area: &'static str,
    pub verdict: Verdict,
    /// What was seen, and what it means.
    pub what: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// The findings of one area, and the clocks that were seen there.
struct Report {
    area: &'static str,
    findings: Vec<Finding>,
    clocks: Vec<Reading>,
}

/// Somebody's clock, and ours at that moment.
struct Reading {
    whose: &'static str,
    theirs: Timestamp,
    ours: Timestamp,
}

impl Report {
    fn of(area: &'static str) -> Self {
        Self { area, findings: Vec::new(), clocks: Vec::new() }
    }

    fn ok(&mut self, what: impl Into<String>) {
        self.push(Verdict::Ok, what.into(), None);
    }

    fn warning(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.push(Verdict::Warning, what.into(), Some(advice.into()));
    }

    fn problem(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.push(Verdict::Problem, what.into(), Some(advice.into()));
    }

    fn push(&mut self, verdict: Verdict, what: String, advice: Option<String>) {
        self.findings.push(Finding { area: self.area, verdict, what, advice });
    }

    fn clock(&mut self, whose: &'static str, theirs: Timestamp, ours: Timestamp) {
        self.clocks.push(Reading { whose, theirs, ours });
    }
}

/// Looks at everything.
pub async fn examine(patient: &Patient<'_>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Vec<Finding> {
    let areas: Vec<(&'static str, futures_util::future::BoxFuture<'_, Report>)> = vec![
        (settings::AREA, Box::pin(async { settings::look(patient) })),
        (store::AREA, Box::pin(store::look(patient, &clock, &entropy))),
        (broker::AREA, Box::pin(broker::look(patient, &*clock, &*entropy))),
        (management::AREA, Box::pin(management::look(patient, &*clock))),
        (provider::AREA, Box::pin(provider::look(patient, &clock, &entropy))),
        (ports::AREA, Box::pin(ports::look(patient))),
    ];
    let within = areas.into_iter().map(async |(area, look)| {
        tokio::select! {
            report = look => report,
            () = clock.sleep(AREA_TIMEOUT) => {
                let mut report = Report::of(area);
                report.problem(
                    format!("no answer within {AREA_TIMEOUT:#}, so nothing can be said about it"),
                    "see whether it is overloaded, or whether something on the way swallows packets",
                );
                report
            }
        }
    });
    let mut reports = join_all(within).await;
    let readings = reports.iter_mut().flat_map(|report| std::mem::take(&mut report.clocks)).collect();
    reports.push(clocks::compare(readings));
    reports.into_iter().flat_map(|report| report.findings).collect()
}

/// Whether the configuration has a mistake in a setting that begins so.
fn is_mistaken(patient: &Patient<'_>, setting: &str) -> bool {
    patient.mistakes.iter().any(|mistake| mistake.place.contains(setting))
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
