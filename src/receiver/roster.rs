//! All configured senders at once, immutable: a new configuration is a new roster, and a request that has begun ends with
//! the one that it began with.
//!
//! It also keeps strangers from finding out who is on it. Whatever the name in the URL, a request is judged by the same
//! rules and pays for the same number of signatures: those that an early refusal, or a source that does not exist,
//! would have saved are made up for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use super::parse::Shape;
use super::source::Source;
use super::verify::standard_webhooks::Family;
use super::verify::{Refusal, Refused, Secret, Verified, standard_webhooks};

#[derive(Debug)]
pub struct Roster {
    sources: BTreeMap<Arc<str>, Source>,
    /// Of sources that others receive.
    shapes: BTreeMap<String, Shape>,
    /// Stands in for a source that does not exist, so that asking for one takes the same steps as a wrong signature.
    nobody: Source,
    /// Every header in which any source proves itself.
    headers: Vec<HeaderName>,
    /// The most secrets that any source has.
    secrets_max: usize,
    decoy: Secret,
}

impl Roster {
    /// The last of several sources of one name counts.
    #[must_use]
    pub fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        let sources: BTreeMap<_, _> = sources.into_iter().map(|source| (Arc::clone(source.name()), source)).collect();
        let headers: BTreeSet<String> =
            sources.values().flat_map(|source| source.scheme().headers()).map(|name| name.to_string()).collect();
        Self {
            nobody: Source::nobody(),
            headers: Family::HEADERS
                .into_iter()
                .chain(headers.iter().filter_map(|name| HeaderName::try_from(name).ok()))
                .collect(),
            secrets_max: sources.values().map(|source| source.scheme().names().len()).max().unwrap_or(1),
            sources,
            shapes: BTreeMap::new(),
            decoy: Secret::decoy(),
        }
    }

    /// Knows how to read the bodies of these sources as well, so that what was parked can be read again, whoever
    /// received it.
    #[must_use]
    pub fn reading(self, shapes: BTreeMap<String, Shape>) -> Self {
        Self { shapes, ..self }
    }

    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.sources.get(name).map(Source::shape).or_else(|| self.shapes.get(name))
    }

    /// What is different in `newer`, a sentence each, by the names of sources and secrets.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<String> {
        let sources: BTreeSet<&Arc<str>> = self.sources.keys().chain(newer.sources.keys()).collect();
        let mut changes = Vec::new();
        for name in &sources {
            match (self.sources.get(*name), newer.sources.get(*name)) {
                (Some(old), Some(new)) => {
                    changes.extend(old.changes(new).into_iter().map(|change| format!("source `{name}`: {change}")));
                }
                (None, _) => changes.push(format!("source `{name}` is new")),
                (_, None) => changes.push(format!("source `{name}` is gone")),
            }
        }
        let elsewhere: BTreeSet<&String> = self.shapes.keys().chain(newer.shapes.keys()).collect();
        for name in elsewhere.into_iter().filter(|name| !sources.contains(&Arc::from(name.as_str()))) {
            match (self.shapes.get(name), newer.shapes.get(name)) {
                (Some(old), Some(new)) if old == new => {}
                (None, _) => changes.push(format!("bodies of `{name}` can be read")),
                (_, None) => changes.push(format!("bodies of `{name}` can be read no more")),
                _ => changes.push(format!("bodies of `{name}` are read in another way")),
            }
        }
        changes
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.sources.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// Hands back the source together with the proof: without a source there is none.
    pub(super) fn verify<'s>(
        &self,
        source: Option<&'s Source>,
        headers: &HeaderMap,
        body: &Bytes,
        now: Timestamp,
    ) -> Result<(&'s Source, Verified), Refused> {
        if let Some(refusal) = self.contradiction(headers) {
            return Err(Refused { refusal, proof: None });
        }
        match (source, source.unwrap_or(&self.nobody).judge(headers, body.clone(), now)) {
            (Some(source), Ok(delivery)) => Ok((source, delivery)),
            (Some(source), Err(refused)) => {
                self.make_up(source, refused.refusal, body);
                Err(refused)
            }
            (None, verdict) => {
                let refusal = verdict.map_or_else(|refused| refused.refusal, |_| Refusal::SignatureWrong);
                self.make_up(&self.nobody, refusal, body);
                Err(Refused { refusal: Refusal::SourceUnknown, proof: None })
            }
        }
    }

    /// Two readers of such a request could see two different deliveries. Any source's headers count on every path.
    fn contradiction(&self, headers: &HeaderMap) -> Option<Refusal> {
        if Family::of(headers).is_err() {
            return Some(Refusal::FamiliesMixed);
        }
        let is_repeated = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
        self.headers.iter().any(is_repeated).then_some(Refusal::HeaderRepeated)
    }

    /// Does the signatures that `source` did not come to.
    fn make_up(&self, source: &Source, refusal: Refusal, body: &[u8]) {
        let made = if refusal.was_compared() { source.scheme().names().len() } else { 0 };
        for _ in made..self.secrets_max {
            std::hint::black_box(standard_webhooks::sign(&self.decoy, "", Timestamp::UNIX_EPOCH, body));
        }
    }
}
