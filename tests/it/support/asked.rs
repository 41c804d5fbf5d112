//! What a person asks of a run beyond what the suite does: a seed again, more cases, more time.

/// The number in an environment variable, if it is set.
pub(crate) fn asked_for(variable: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how a person asks")]
    let asked = std::env::var(variable).ok()?;
    Some(asked.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not {asked:?}")))
}
