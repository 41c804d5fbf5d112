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

use super::source::Source;
use super::verify::standard_webhooks::Family;
use super::verify::{Refusal, Refused, Secret, Verified, standard_webhooks};

#[derive(Debug)]
pub struct Roster {
    sources: BTreeMap<Arc<str>, Source>,
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
            decoy: Secret::decoy(),
        }
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
