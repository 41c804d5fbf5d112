//! RabbitMQ, where its management API is configured: what AMQP does not show, which is policies and bindings.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::DATE;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::Url;

use super::{Patient, Report};
use crate::clock::Clock;
use crate::queue::rabbitmq::Settings;
use crate::queue::rabbitmq::topology::{Names, QueueLimits};

pub(super) const AREA: &str = "broker policies";

const TIMEOUT: Duration = Duration::from_secs(5);

/// A queue as the API has it.
type Queue = Map<String, Value>;

#[derive(Deserialize)]
struct Binding {
    routing_key: String,
}

pub(super) async fn look(patient: &Patient<'_>, clock: &dyn Clock) -> Report {
    let mut report = Report::of(AREA);
    let Some(settings) = &patient.config.rabbitmq else { return report };
    if ["queue.amqp_url", "queue.prefix", "queue.management_url"].iter().any(|it| super::is_mistaken(patient, it)) {
        return report;
    }
    let Some(url) = &patient.config.management_url else {
        report.ok("not looked at: AMQP shows neither policies nor bindings. Set queue.management_url to see them");
        return report;
    };
    if let Some(desk) = Desk::new(url.expose_secret(), settings)
        && let Ok(names) = Names::under(&settings.prefix)
        && let Err(why) = desk.look(&mut report, &names, &settings.queue, clock).await
    {
        report.problem(
            format!("the management API cannot be used: {why}"),
            "see whether queue.management_url is right, the plugin is on, and its user has the tag `monitoring`",
        );
    }
    report
}

/// The API, and whose part of it.
struct Desk {
    client: Client,
    base: Url,
    user: String,
    password: String,
    vhost: String,
}

impl Desk {
    fn new(management: &str, settings: &Settings) -> Option<Self> {
        let amqp = Url::parse(settings.url.expose_secret()).ok()?;
        let mut base = Url::parse(management).ok()?;
        let of = if base.username().is_empty() { &amqp } else { &base };
        let plain = |text: &str| urlencoded(text);
        let (user, password) = (plain(of.username()), plain(of.password().unwrap_or_default()));
        let user = if user.is_empty() { "guest".to_owned() } else { user };
        let password = if password.is_empty() { "guest".to_owned() } else { password };
        let vhost = match amqp.path().trim_start_matches('/') {
            "" => "/".to_owned(),
            path => plain(path),
        };
        base.set_username("").ok()?;
        base.set_password(None).ok()?;
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build();
        Some(Self { client: client.ok()?, base, user, password, vhost })
    }

    async fn look(
        &self,
        report: &mut Report,
        names: &Names,
        limits: &QueueLimits,
        clock: &dyn Clock,
    ) -> Result<(), String> {
        let inbox = self.get::<Queue>(&["queues", &self.vhost, names.inbox.as_str()], report, clock).await?;
        let parked = self.get::<Queue>(&["queues", &self.vhost, names.parked.as_str()], report, clock).await?;
        for (name, queue) in [(&names.inbox, inbox), (&names.parked, parked)] {
            if let Some(queue) = queue {
                policies(report, name.as_str(), &queue, limits, name == &names.inbox);
            }
        }
        for (exchange, queue, key) in [(&names.events, &names.inbox, "#"), (&names.parked, &names.parked, "")] {
            let path = ["bindings", &self.vhost, "e", exchange.as_str(), "q", queue.as_str()];
            let bindings = self.get::<Vec<Binding>>(&path, report, clock).await?.unwrap_or_default();
            if bindings.iter().any(|binding| binding.routing_key == key) {
                report.ok(format!("the exchange `{exchange}` is bound to the queue `{queue}`"));
            } else {
                report.problem(
                    format!(
                        "the exchange `{exchange}` is not bound to the queue `{queue}`: what is published is lost \
                             to no queue and refused"
                    ),
                    "restart a server, which binds it, and see who took the binding away",
                );
            }
        }
        report.clocks.truncate(1);
        Ok(())
    }

    /// What is at a path; `None` where nothing is.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        report: &mut Report,
        clock: &dyn Clock,
    ) -> Result<Option<T>, String> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| "it is no base address".to_owned())?
            .pop_if_empty()
            .push("api")
            .extend(path);
        let request = self.client.get(url).basic_auth(&self.user, Some(&self.password));
        let answer = request.send().await.map_err(|error| root_of(&error))?;
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(theirs) = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()) {
            report.clock("broker", theirs, clock.now());
        }
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => answer.json().await.map(Some).map_err(|error| root_of(&error)),
            status => Err(format!("it answered {status}")),
        }
    }
}

/// A policy wins over some of what a queue was declared with, and adds to the rest.
fn policies(report: &mut Report, name: &str, queue: &Queue, limits: &QueueLimits, is_inbox: bool) {
    let Some(definition) = queue.get("effective_policy_definition") else {
        report.warning(
            format!("the management API does not tell yet, or not at all, which policies apply to `{name}`"),
            "ask again in some seconds; if its metrics are off, see `rabbitmqctl list_policies`",
        );
        return;
    };
    // An object; an empty list where there is no policy.
    let none = Map::new();
    let definition = definition.as_object().unwrap_or(&none);
    let whose = ["policy", "operator_policy"].into_iter().filter_map(|which| queue.get(which)?.as_str());
    let whose: Vec<&str> = whose.filter(|policy| !policy.is_empty()).collect();
    let policy = format!("the policy `{}`", whose.join("` and `"));
    let lower = |key: &str, ours: u32| definition.get(key).and_then(Value::as_u64).filter(|it| *it < u64::from(ours));
    let mut found = Vec::new();
    if let Some(limit) = lower("delivery-limit", limits.delivery_limit).filter(|_| is_inbox) {
        found.push(format!(
            "sets the delivery limit to {limit}, and {} was asked for: a few lost connections would park \
                            good events",
            limits.delivery_limit
        ));
    }
    if !is_inbox && let Some(limit) = definition.get("delivery-limit") {
        found.push(format!("sets the delivery limit to {limit}: what somebody looked at too often would be deleted"));
    }
    if let Some(limit) = lower("max-length", limits.messages_max) {
        found.push(format!("sets the longest length to {limit} messages: more are refused"));
    }
    if let Some(limit) = lower("max-length-bytes", limits.bytes_max) {
        found.push(format!("sets the largest size to {limit} bytes: more is refused"));
    }
    for (key, meaning) in
        [("message-ttl", "accepted events would be taken away"), ("expires", "the queue would be deleted")]
    {
        if let Some(value) = definition.get(key) {
            found.push(format!("sets {key} to {value} ms: {meaning} after that time"));
        }
    }
    if found.is_empty() {
        report.ok(format!("no policy changes what `{name}` was declared with"));
    }
    for what in found {
        report.problem(
            format!("{policy} on the queue `{name}` {what}"),
            "take the setting out of the policy, or keep the policy away from this queue (`rabbitmqctl list_policies`)",
        );
    }
}

/// A part of a URL as its text.
fn urlencoded(part: &str) -> String {
    let pair = format!("x={}", part.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, text)| text.into_owned()).unwrap_or_default()
}

/// The innermost cause, without the address that the outer layers add.
fn root_of(error: &reqwest::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
