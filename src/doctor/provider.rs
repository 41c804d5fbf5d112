//! The provider: reached, our key taken, and its webhooks pointed at us, for all that we act on, with secrets that we know.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use url::Url;

use super::{Patient, Report};
use crate::clock::{Clock, Entropy};
use crate::domain::event::SEAM_EVENT_TYPES;
use crate::provider::{Inspection, Provider as _, SeamClient, Webhook};
use crate::receiver::verify::{Secret, standard_webhooks};
use crate::receiver::{Kind, Source};
use crate::store::{EventRecord, Store, StoreError};

pub(super) const AREA: &str = "provider";

/// Events of this time are compared with the inbox; the newest are left out, since they may be on their way.
const COMPARED: SignedDuration = SignedDuration::from_hours(24);
const ON_THEIR_WAY: SignedDuration = SignedDuration::from_mins(1);
/// Events looked up in the store, the newest first.
const COMPARED_MAX: usize = 50;

pub(super) async fn look(patient: &Patient<'_>, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> Report {
    let mut report = Report::of(AREA);
    let Some(settings) = &patient.config.provider else { return report };
    let client = match SeamClient::new(settings, Arc::clone(clock)) {
        Ok(client) => client,
        Err(error) => {
            report.problem(format!("its client cannot be made: {error}"), "see whether this machine's TLS is set up");
            return report;
        }
    };
    let Inspection { status, clock: reading, webhooks } = client.inspect().await;
    if let Some((theirs, ours)) = reading {
        report.clock("provider", theirs, ours);
    }
    let host = settings.endpoint.host();
    match webhooks {
        Ok(webhooks) => {
            report.ok(format!("{host} answers, and takes the API key"));
            look_at_webhooks(patient, &webhooks, &mut report, &**clock);
            if patient.config.roster.iter().any(|source| source.kind() == Kind::Seam) {
                compare_events(patient, &client, clock, entropy, &mut report).await;
            }
        }
        Err(error) => {
            let advice = match status {
                Some(401 | 403) => "make a key in the provider's console and set SEAM_API_KEY to it",
                Some(_) => "see whether SEAM_ENDPOINT is right, and the provider's status page",
                None => "see whether SEAM_ENDPOINT is right and can be reached from here (DNS, firewall, certificate)",
            };
            let what = match status {
                Some(401 | 403) => format!("{host} refuses the API key ({error})"),
                _ => format!("{host} cannot be used: {error}"),
            };
            report.problem(what, advice);
        }
    }
    report
}

/// Each source of the provider's has a webhook there, which tells enough and signs with a secret of ours.
fn look_at_webhooks(patient: &Patient<'_>, webhooks: &[Webhook], report: &mut Report, clock: &dyn Clock) {
    for source in patient.config.roster.iter().filter(|source| source.kind() == Kind::Seam) {
        let path = format!("/webhooks/{}", source.name());
        let ours: Vec<&Webhook> = webhooks.iter().filter(|webhook| ends_in(&webhook.url, &path)).collect();
        if ours.is_empty() {
            report.problem(
                format!("of its {} webhooks none points at a path {path}: nothing will come in", webhooks.len()),
                format!("make a webhook in its console for https://your.host{path}"),
            );
        }
        for webhook in ours {
            look_at_webhook(webhook, source, report, clock);
        }
    }
}

fn look_at_webhook(webhook: &Webhook, source: &Source, report: &mut Report, clock: &dyn Clock) {
    let address = shown(&webhook.url);
    let is_told = |wanted: &&str| webhook.event_types.iter().any(|it| it == "*" || it == *wanted);
    let missing: Vec<&str> = SEAM_EVENT_TYPES.into_iter().filter(|wanted| !is_told(wanted)).collect();
    let before = report.findings.len();
    if !missing.is_empty() {
        report.problem(
            format!("the webhook to {address} is not subscribed to {}", missing.join(", ")),
            "add these to the webhook, or subscribe it to all",
        );
    }
    match webhook.secret.as_ref().map(|secret| Secret::parse(secret.expose_secret())) {
        Some(Ok(secret)) if !is_taken(&secret, source, clock) => report.problem(
            format!("the webhook to {address} signs with a secret that the source `{}` does not have", source.name()),
            "copy the webhook's secret into SEAM_WEBHOOK_SECRET (or the source's `secrets`)",
        ),
        Some(Ok(_)) if before == report.findings.len() => {
            report.ok(format!("the webhook to {address} tells all that is acted on, and signs with a known secret"));
        }
        Some(Err(_)) | None if before == report.findings.len() => {
            report.ok(format!("the webhook to {address} tells all that is acted on; its secret is not shown"));
        }
        _ => {}
    }
}

/// Whether the source takes what this secret signs.
fn is_taken(secret: &Secret, source: &Source, clock: &dyn Clock) -> bool {
    let (now, id, body) = (clock.now(), "msg_doctor", "{}");
    let family = source.kind().family();
    let mut headers = HeaderMap::new();
    let values = [
        (family.id(), id.to_owned()),
        (family.timestamp(), now.as_second().to_string()),
        (family.signature(), standard_webhooks::sign(secret, id, now, body.as_bytes())),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    source.verify(&headers, body.into(), now).is_ok()
}

/// The provider does not tell whether a webhook is disabled. But it lists what happened, and the inbox says what came in.
async fn compare_events(
    patient: &Patient<'_>,
    client: &SeamClient,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    report: &mut Report,
) {
    let (url, now) = (patient.config.store_url.expose_secret(), clock.now());
    let is_there = crate::store::inspect(url).await.is_ok_and(|seen| seen.version == seen.needed);
    if !is_there {
        return;
    }
    let since = crate::clock::add(now, -COMPARED);
    let until = crate::clock::add(now, -ON_THEIR_WAY);
    let Ok(listed) = client.list_events(since, until).await else { return };
    let due = listed.into_iter().rev();
    let ids: Vec<String> = due
        .filter(|it| SEAM_EVENT_TYPES.contains(&it.event_type.as_str()))
        .map(|it| it.event_id)
        .take(COMPARED_MAX)
        .collect();
    if ids.is_empty() {
        return;
    }
    let missed = async {
        let store = Store::open(url, 2, Arc::clone(clock), Arc::clone(entropy)).await?;
        let mut missed = 0;
        for id in &ids {
            // What the sweep has pulled did not come in by itself.
            missed += usize::from(store.events(id).await?.iter().all(EventRecord::is_pulled));
        }
        Ok::<_, StoreError>(missed)
    };
    match missed.await {
        Ok(0) => report.ok(format!("all of the last {} events that it lists came in", ids.len())),
        Ok(missed) => report.problem(
            format!("{missed} of the last {} events that it lists never came in", ids.len()),
            "see in its console whether the webhook is disabled or fails, and whether its URL leads to this receiver",
        ),
        Err(_) => {}
    }
}

fn ends_in(url: &str, path: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.path().trim_end_matches('/').ends_with(path))
}

/// A webhook's address without what may be a secret in it.
fn shown(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.map_or_else(
        || "an address that is none".to_owned(),
        |url| format!("{}{}", url.host_str().unwrap_or_default(), url.path()),
    )
}
