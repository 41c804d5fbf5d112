//! The configuration itself: its mistakes, what it exposes, and who can read it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use toml::{Table, Value};
use url::Url;

use super::{Patient, Report, is_loopback};
use crate::receiver::Source;
use crate::receiver::verify::Scheme;

pub(super) const AREA: &str = "configuration";

pub(super) fn look(patient: &Patient<'_>) -> Report {
    let mut report = Report::of(AREA);
    for mistake in patient.mistakes {
        report.problem(
            format!("{}: {}", mistake.place, mistake.what),
            "mend it: no server starts with it. `keyferry config schema` says what may stand there",
        );
    }
    if patient.mistakes.is_empty() {
        report.ok("it is well-formed");
    }
    exposure(patient, &mut report);
    if let Some(file) = patient.file {
        permissions(file, &mut report);
    }
    for source in patient.config.roster.iter() {
        report.ok(receives(source));
    }
    report
}

/// What travels in the clear, or is open to whoever comes along.
fn exposure(patient: &Patient<'_>, report: &mut Report) {
    let config = patient.config;
    if config.provider.as_ref().is_some_and(|provider| provider.endpoint.is_exposed()) {
        report.warning("the provider is called over plain http: the API key can be read on the way", "use https");
    }
    let Some(settings) = &config.rabbitmq else { return };
    let Ok(url) = Url::parse(settings.url.expose_secret()) else { return };
    if url.host_str().is_none_or(is_loopback) {
        return;
    }
    if url.scheme() == "amqp" {
        report.warning(
            "RabbitMQ is reached over plain amqp: its password and every event can be read on the way",
            "use amqps, or make sure that the network between is yours alone",
        );
    }
    if settings.keys.is_none() {
        report.warning(
            "messages are not sealed: whoever may publish to RabbitMQ can speak for every sender",
            "set KEYFERRY_QUEUE_KEY (`openssl rand -base64 32`), first for the receivers and then for the workers",
        );
    }
}

/// Who may send, and what their proofs are worth.
fn receives(source: &Source) -> String {
    let (name, kind, count) = (source.name(), source.kind().as_str(), source.scheme().names().len());
    let keys = if count == 1 { "key" } else { "keys" };
    let worth = match source.scheme() {
        Scheme::StandardWebhooks(_) => "",
        Scheme::SharedSecret(_) => {
            "; its secret travels with each request, so the proof is worth what the TLS in front of the receiver is worth"
        }
        Scheme::HmacHeader(scheme) if scheme.format().timestamp.is_some() => "",
        Scheme::HmacHeader(_) => "; it signs no time, so what is sent again later is told by its event's id alone",
    };
    format!("webhooks of `{name}` ({kind}) are taken with {count} {keys}{worth}")
}

/// A file with secrets is for its owner only.
fn permissions(file: &Path, report: &mut Report) {
    let (Ok(text), Ok(metadata)) = (std::fs::read_to_string(file), std::fs::metadata(file)) else { return };
    let Ok(table) = text.parse::<Table>() else { return };
    for file in secret_files(&table) {
        secret_file(&file, report);
    }
    if !holds_secrets(&table) {
        return;
    }
    let mode = metadata.permissions().mode() & 0o777;
    let advice = format!("chmod 600 {}", file.display());
    if mode & 0o007 != 0 {
        report.problem(format!("everybody on this machine can read {} and the secrets in it", file.display()), advice);
    } else if mode & 0o070 != 0 {
        report.warning(format!("its group can read {} and the secrets in it (mode {mode:o})", file.display()), advice);
    } else {
        report.ok(format!("{} holds secrets, and only its owner can read it", file.display()));
    }
}

/// A secret in a file of its own. Containers mount such files readable by all, where "all" is one process: a warning.
fn secret_file(file: &Path, report: &mut Report) {
    // One that is not there is a mistake of the configuration already.
    let Ok(metadata) = std::fs::metadata(file) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    let file = file.display();
    let whose = match (mode & 0o007 != 0, mode & 0o070 != 0) {
        (true, _) => "everybody on this machine",
        (false, true) => "its group",
        (false, false) => return report.ok(format!("{file} holds a secret, and only its owner can read it")),
    };
    report.warning(
        format!("{whose} can read {file} and the secret in it (mode {mode:o})"),
        format!("chmod 400 {file}, owned by the user that Keyferry runs as; in Kubernetes `defaultMode: 0400`"),
    );
}

/// The files of their own that secrets stand in.
fn secret_files(table: &Table) -> Vec<PathBuf> {
    let files = secrets(table).filter_map(|secret| secret.get("file")?.as_str());
    files.map(PathBuf::from).collect()
}

fn secrets(table: &Table) -> impl Iterator<Item = &Value> {
    let sources = table.get("sources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    sources.iter().filter_map(|source| source.get("secrets")?.as_array()).flatten()
}

fn holds_secrets(table: &Table) -> bool {
    const SETTINGS: [(&str, &str); 4] =
        [("ops", "token"), ("provider", "api_key"), ("queue", "key"), ("queue", "amqp_url")];
    let has = |section: &str, key: &str| table.get(section).is_some_and(|section| section.get(key).is_some());
    let is_here = |secret: &Value| secret.is_str() || secret.get("value").is_some();
    SETTINGS.iter().any(|(section, key)| has(section, key)) || secrets(table).any(is_here)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{holds_secrets, secret_files};

    fn table(text: &str) -> toml::Table {
        text.parse().expect("TOML")
    }

    #[test]
    fn a_file_without_a_secret_may_be_read_by_all() {
        let source = |secrets: &str| table(&format!("[[sources]]\nname = 'x'\nkind = 'seam'\nsecrets = [{secrets}]"));
        assert!(!holds_secrets(&table("[worker]\nconcurrency = 3")));
        assert!(holds_secrets(&table("[ops]\ntoken = 'x'")));
        assert!(holds_secrets(&source("'x'")) && holds_secrets(&source("{name = 'a', value = 'x'}")));
        let elsewhere = source("{env = 'X'}, {file = '/run/secrets/x'}");
        assert!(!holds_secrets(&elsewhere));
        assert_eq!(secret_files(&elsewhere), [PathBuf::from("/run/secrets/x")]);
    }
}
