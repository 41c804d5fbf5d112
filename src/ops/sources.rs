//! The senders and their secrets: what is configured, beside what was used.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::SecretNames;
use super::wire::{self, Time};
use crate::domain::SecretUse;

/// `configured`: each source's secrets in their order, where this process receives webhooks. What was used, and is
/// configured no more, comes after them.
pub(super) fn told(all: &[SecretUse], configured: Option<&SecretNames>, now: Timestamp) -> Vec<wire::Source> {
    let mut names: BTreeSet<&str> = all.iter().map(|it| it.source.as_str()).collect();
    names.extend(configured.into_iter().flat_map(BTreeMap::keys).map(String::as_str));
    let live = |name: &str| configured.map(|it| it.get(name).map(Vec::as_slice).unwrap_or_default());
    names.into_iter().map(|name| source(name, all, live(name), now)).collect()
}

fn source(name: &str, all: &[SecretUse], live: Option<&[String]>, now: Timestamp) -> wire::Source {
    let own: Vec<&SecretUse> = all.iter().filter(|it| it.source == name).collect();
    let is_live = |secret: &str| live.map(|live| live.iter().any(|it| it == secret));
    let secret = |name: &str, past: Option<&SecretUse>| wire::Secret {
        name: name.to_owned(),
        configured: is_live(name),
        events: past.map_or(0, |it| it.events),
        first_used_at: past.map(|it| Time(it.first_used_at)),
        last_used_at: past.map(|it| Time(it.last_used_at)),
        safe_to_remove: is_live(name) != Some(false) && past.is_some_and(|it| it.is_safe_to_remove(all, now)),
    };
    let past = |secret: &String| own.iter().copied().find(|it| it.secret == *secret);
    let configured = live.unwrap_or_default().iter().map(|name| secret(name, past(name)));
    let others = own.iter().filter(|it| is_live(&it.secret) != Some(true)).map(|it| secret(&it.secret, Some(it)));
    wire::Source {
        name: name.to_owned(),
        clock_skew_seconds: own.iter().max_by_key(|it| it.last_used_at).and_then(|it| it.skew).map(whole_seconds),
        secrets: configured.chain(others).collect(),
    }
}

/// Downwards: a signature of the present second is 0 s old.
fn whole_seconds(skew: SignedDuration) -> i64 {
    skew.as_secs() - i64::from(skew.subsec_nanos() < 0)
}
