//! The configuration itself: its mistakes, what it exposes, and who can read it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::ExposeSecret as _;
use url::Url;

use super::{Patient, Report, is_loopback};

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

/// A file with secrets is for its owner only.
fn permissions(file: &Path, report: &mut Report) {
    let (Ok(text), Ok(metadata)) = (std::fs::read_to_string(file), std::fs::metadata(file)) else { return };
    if !holds_secrets(&text) {
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

fn holds_secrets(text: &str) -> bool {
    const SETTINGS: [(&str, &str); 4] =
        [("ops", "token"), ("provider", "api_key"), ("queue", "key"), ("queue", "amqp_url")];
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    let has = |section: &str, key: &str| table.get(section).is_some_and(|section| section.get(key).is_some());
    let sources = table.get("sources").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    SETTINGS.iter().any(|(section, key)| has(section, key)) || sources.iter().any(|it| it.get("secrets").is_some())
}

#[cfg(test)]
mod tests {
    use super::holds_secrets;

    #[test]
    fn a_file_without_a_secret_may_be_read_by_all() {
        assert!(!holds_secrets("[worker]\nconcurrency = 3"));
        assert!(holds_secrets("[ops]\ntoken = 'x'"));
        assert!(holds_secrets("[[sources]]\nname = 'x'\nkind = 'seam'\nsecrets = ['x']"));
    }
}
