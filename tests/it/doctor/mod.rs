//! `keyferry doctor` on set-ups that are whole, and on set-ups that were broken on purpose: each break is found, with what
//! to do about it, and nothing is changed by the looking.

mod broker;
mod provider;
mod settings;
mod store;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::support::in_both_shapes;
use crate::support::process::keyferry;
use crate::support::town::{Town, issued_keys};
use crate::support::wait;

in_both_shapes!(a_healthy_set_up_is_well);

type Environment = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
struct Finding {
    area: String,
    verdict: String,
    what: String,
    advice: Option<String>,
}

/// What the doctor said.
#[derive(Debug)]
struct Diagnosis {
    code: i32,
    findings: Vec<Finding>,
}

/// Runs the program.
async fn diagnose(arguments: &[&str], environment: &Environment) -> Diagnosis {
    let output = run(&[&["doctor", "--json"], arguments].concat(), environment).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings = serde_json::from_value(report["findings"].take()).expect("findings");
    let diagnosis = Diagnosis { code: output.status.code().expect("an end"), findings };
    for (name, secret) in environment.iter().filter(|(name, _)| name.contains("SECRET") || name.contains("KEY")) {
        let is_secret = name.ends_with("SECRET") || name.ends_with("KEY");
        assert!(!is_secret || !format!("{diagnosis:?}{said}").contains(secret), "{name} is told");
    }
    diagnosis
}

async fn run(arguments: &[&str], environment: &Environment) -> std::process::Output {
    let mut command = keyferry(arguments, environment);
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs")
}

impl Diagnosis {
    /// There is such a finding, with advice that has these words in it.
    #[track_caller]
    fn finds(&self, verdict: &str, area: &str, what: &str, advice: &str) {
        let found = self.findings.iter().any(|it| {
            it.verdict == verdict
                && it.area == area
                && it.what.contains(what)
                && it.advice.as_deref().unwrap_or_default().contains(advice)
        });
        assert!(found, "no {verdict} in {area} that says {what:?} and advises {advice:?} in\n{self:#?}");
        assert_eq!(self.code == 0, self.of("problem").is_empty(), "the exit code tells whether there are problems");
    }

    fn of(&self, verdict: &str) -> Vec<&Finding> {
        self.findings.iter().filter(|it| it.verdict == verdict).collect()
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

fn environment<const N: usize>(variables: [(&str, &str); N]) -> Environment {
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

impl Town {
    async fn diagnosis(&self, role: &str) -> Diagnosis {
        let (config, receiver, ops) = self.addresses();
        let arguments = ["--role", role, "--config", &config, "--listen", &receiver, "--ops-listen", &ops];
        diagnose(&arguments, &self.environment).await
    }

    fn addresses(&self) -> (String, String, String) {
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        let ops = if self.ops_url.is_empty() { free_address() } else { address(&self.ops_url) };
        (self.config.to_string_lossy().into_owned(), address(&self.receiver_url), ops)
    }
}

async fn a_healthy_set_up_is_well(town: Town) {
    let stay = town.stay(0).await;
    town.put_plan("booking-1", &stay).await;
    town.sign_in(&stay).await;
    town.issuance("booking-1", "a key", |it| issued_keys(it) == 1).await;
    // Its webhooks may still be on their way.
    let before = wait::until("an empty inbox", async || {
        let status = town.ops("/v1/status").await;
        let is_empty = ["waiting", "retrying", "in_flight"].iter().all(|state| status["inbox"][*state] == 0);
        is_empty.then(|| status["ledger_head"].clone())
    })
    .await;
    let diagnosis = town.diagnosis("run").await;
    assert!(diagnosis.findings.iter().all(|it| it.verdict == "ok" && it.advice.is_none()), "{diagnosis:#?}");
    assert_eq!(diagnosis.code, 0);
    for area in ["configuration", "store", "broker", "provider", "ports", "clocks"] {
        assert!(diagnosis.findings.iter().any(|it| it.area == area), "{area} was not looked at");
    }
    let (config, receiver, ops) = town.addresses();
    let arguments = ["doctor", "--config", &config, "--listen", &receiver, "--ops-listen", &ops];
    let output = run(&arguments, &town.environment).await;
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.ends_with("\nall is well\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(town.ops("/v1/status").await["ledger_head"], before, "looking changes nothing");
    assert_eq!(town.ops("/v1/parked").await["parked"], json!([]));
    town.close().await;
}
