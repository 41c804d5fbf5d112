//! Why is a request not taken, and what would become of it? Asked afterwards, of a request that was caught: nothing is
//! sent, stored or changed.
//!
//! The receiver tells nobody why it refuses. Here the same rules judge the same bytes, and where a signature does not
//! hold, all that usually goes wrong with signatures is undone, one thing after the other, until one holds.

mod bodies;
mod captured;
mod diagnose;
mod forms;
mod json;

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::Fact;

use super::outcome::{Accepted, Outcome, Rejection};
use super::parse::Item;
use super::source::Source;
use super::verify::{Proof, Refused, Verified};
use super::{Roster, head, reply};

pub use captured::{CaptureError, Captured};

/// What the receiver does with a request, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What it answers.
    pub status: u16,
    /// Why it does not take the request for its sender's, by the name that its counter has for it.
    pub refusal: Option<&'static str>,
    /// The name of the secret that verified it, be it at the wrong time.
    pub secret: Option<String>,
    /// When it was signed, where that is proven.
    pub sent_at: Option<Timestamp>,
    pub findings: Vec<Finding>,
    /// What becomes of the body, or would once its signature holds.
    pub events: Vec<Told>,
}

/// Something that is to be known about the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Finding {
    fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: Some(advice.into()) }
    }

    fn note(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None }
    }
}

/// What becomes of one event of the body, or of the whole body where it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    pub fate: Fate,
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    /// Why it is parked.
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    ActedOn,
    /// Recorded, and asks nothing of us.
    Ignored,
    /// Put aside for a person.
    Parked,
}

impl From<Item> for Told {
    fn from(item: Item) -> Self {
        match item.event {
            Ok(event) => Self {
                fate: if event.fact == Fact::Other { Fate::Ignored } else { Fate::ActedOn },
                event_id: Some(event.event_id),
                event_type: Some(event.event_type),
                why: None,
            },
            Err(unreadable) => Self { fate: Fate::Parked, event_id: None, event_type: None, why: Some(unreadable.why) },
        }
    }
}

/// Judges a request as the source named `name` would have at `at`. `None` where there is no such source.
///
/// `body_bytes_max`: the receiver's limit.
#[must_use]
pub fn explain(
    roster: &Roster,
    name: &str,
    request: &Captured,
    body_bytes_max: usize,
    at: Timestamp,
) -> Option<Explanation> {
    let source = roster.get(name)?;
    let mut findings: Vec<Finding> = request.notes.iter().map(Finding::note).collect();
    let is_post = request.method.as_ref().is_none_or(|method| method == "POST");
    if !is_post {
        findings.push(Finding::new("it is not a POST, and the receiver takes nothing else", "have the sender POST it"));
    }
    findings.extend(elsewhere(source, request));
    let (outcome, proof) = judged(roster, source, request, body_bytes_max, at, &mut findings);
    let refusal = match &outcome {
        Err(Rejection::Refused(refusal)) => Some(refusal.reason()),
        _ => None,
    };
    let answer = reply::to(&outcome, Some(source.kind())).status();
    Some(Explanation {
        status: if is_post { answer } else { StatusCode::METHOD_NOT_ALLOWED }.as_u16(),
        refusal,
        secret: proof.as_ref().map(|proof| proof.secret().to_string()),
        sent_at: proof.and_then(|proof| proof.sent_at()),
        findings,
        events: events(source, request, at),
    })
}

/// The receiver's own steps, in its order.
fn judged(
    roster: &Roster,
    source: &Source,
    request: &Captured,
    body_bytes_max: usize,
    at: Timestamp,
    findings: &mut Vec<Finding>,
) -> (Outcome, Option<Proof>) {
    let verdict = roster.verify(Some(source), &request.headers, &request.body, at);
    let (proof, refused) = match verdict {
        Ok((_, delivery)) => (Some(delivery.proof().clone()), None),
        Err(Refused { refusal, proof }) => (proof, Some(refusal)),
    };
    let mut outcome = refused.map_or(Ok(Accepted::default()), |refusal| Err(refusal.into()));
    if let Some(refusal) = refused {
        findings.extend(diagnose::refusal(roster, source, request, refusal, proof.as_ref(), at));
    }
    if request.body.len() > body_bytes_max {
        let what = format!("its body has {} bytes, and the receiver takes {body_bytes_max}", request.body.len());
        findings
            .push(Finding::new(what, "raise `receiver.body_bytes_max`, if bodies of this sender are as large as that"));
        outcome = Err(Rejection::BodyTooLarge);
    }
    if let Err(rejection) = head::expect_json(&request.headers) {
        findings.push(not_json(request));
        outcome = Err(rejection);
    }
    (outcome, proof)
}

fn elsewhere(source: &Source, request: &Captured) -> Option<Finding> {
    let path = request.path.as_deref()?;
    let own = format!("/webhooks/{}", source.name());
    let sent_to = path.split(['?', '#']).next().unwrap_or_default();
    // A proxy may have put something in front, or taken something away.
    let is_own = sent_to == own || sent_to.ends_with(&own);
    (!is_own).then(|| {
        let what = format!("it was sent to {sent_to}, and `{}` receives at {own}", source.name());
        Finding::new(what, "compare the address that the sender has, and what a proxy makes of it")
    })
}

fn not_json(request: &Captured) -> Finding {
    let value = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if request.headers.contains_key(CONTENT_ENCODING) {
        let what = format!(
            "its body is compressed (Content-Encoding: {}), and the receiver takes plain JSON",
            value(CONTENT_ENCODING)
        );
        return Finding::new(what, "turn compression off, at the sender or in the proxy that added it");
    }
    let what = format!("its Content-Type is `{}`, and the receiver takes JSON in UTF-8", value(CONTENT_TYPE));
    Finding::new(what, "have the sender say `Content-Type: application/json`")
}

fn events(source: &Source, request: &Captured, at: Timestamp) -> Vec<Told> {
    let delivery = Verified::when_it_was_parked("explained", request.body.clone());
    let headers = head::kept(&request.headers, &source.shape().headers());
    source.read(&delivery, at, &headers).into_iter().map(Told::from).collect()
}
