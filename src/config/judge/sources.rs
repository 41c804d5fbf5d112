//! The sources: who may send.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;

use super::{Judge, seconds};
use crate::config::Role;
use crate::config::file::{self, Kind};
use crate::receiver::verify::Secret;
use crate::{receiver, store};

impl Judge {
    pub(super) fn sources(&mut self, role: Role, listed: Vec<file::Source>) -> Vec<receiver::Source> {
        if !role.receives() {
            return Vec::new();
        }
        if listed.is_empty() {
            let what = "no sender is configured: set SEAM_WEBHOOK_SECRET (Seam) or KEYFERRY_APP_WEBHOOK_SECRET \
                        (your own backend), or list [[sources]] in the file";
            self.say("sources", what);
        }
        let mut names = BTreeSet::new();
        let mut sources = Vec::new();
        for source in listed {
            let path = format!("sources.{}", source.name);
            if source.name == store::OWN_SOURCE {
                self.say(&path, "this name is Keyferry's own");
            } else if !names.insert(source.name.clone()) {
                self.say(&path, "there are two sources of this name");
            }
            sources.extend(self.source(&path, &source));
        }
        sources
    }

    fn source(&mut self, path: &str, source: &file::Source) -> Option<receiver::Source> {
        let mut secrets = Vec::new();
        for secret in &source.secrets {
            match Secret::parse(secret.expose_secret()) {
                Ok(secret) => secrets.push(secret),
                Err(error) => self.say(path, error),
            }
        }
        let is_complete = secrets.len() == source.secrets.len();
        match receiver::Source::new(&source.name, kind(source.kind), secrets, seconds(source.tolerance_seconds)) {
            Ok(source) => Some(source),
            Err(receiver::SourceError::NoSecret) if !is_complete => None,
            Err(error) => {
                self.say(path, error);
                None
            }
        }
    }
}

/// The kind of each source by its name.
pub(super) fn kinds(listed: &[file::Source]) -> BTreeMap<String, receiver::Kind> {
    // The two that the environment can make are known to every role, with or without their secrets.
    let mut kinds: BTreeMap<_, _> =
        [("seam", receiver::Kind::Seam), ("app", receiver::Kind::Standard)].map(|(n, k)| (n.to_owned(), k)).into();
    kinds.extend(listed.iter().map(|source| (source.name.clone(), kind(source.kind))));
    kinds
}

pub(in crate::config) fn kind(kind: Kind) -> receiver::Kind {
    match kind {
        Kind::Seam => receiver::Kind::Seam,
        Kind::Standard => receiver::Kind::Standard,
    }
}
