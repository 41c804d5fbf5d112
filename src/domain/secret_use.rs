//! How much the secrets of a source are used, and when one of them can go.

use jiff::{SignedDuration, Timestamp};

/// Longer than a sender goes on repeating what it was not answered for. Svix, whose schedule Standard Webhooks name as
/// theirs, does so for 27 h 35 min, give or take a fifth.
pub const REPEATED_FOR_MAX: SignedDuration = SignedDuration::from_hours(36);

/// What one secret of one source has proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    pub source: String,
    /// Its name.
    pub secret: String,
    /// Events, their copies included.
    pub events: i64,
    pub first_used_at: Timestamp,
    pub last_used_at: Timestamp,
    /// How old the last signature was when it came, where it says when it was made; negative: how early.
    pub skew: Option<SignedDuration>,
}

impl SecretUse {
    /// Nothing that is still to come needs it: a secret of the same source that was first used later has been used since,
    /// and this one not for longer than anybody repeats a delivery.
    ///
    /// A newer one that was only tried, while the older one is still at work, makes neither of them dispensable.
    #[must_use]
    pub fn is_safe_to_remove(&self, all: &[Self], now: Timestamp) -> bool {
        let has_followed = |other: &Self| {
            other.source == self.source
                && other.first_used_at > self.first_used_at
                && other.last_used_at > self.last_used_at
        };
        now.duration_since(self.last_used_at) > REPEATED_FOR_MAX && all.iter().any(has_followed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_361_605;

    /// Used from and until so many hours ago.
    fn used(source: &str, secret: &str, first: i64, last: i64) -> SecretUse {
        let at = |hours: i64| Timestamp::from_second(NOW - hours * 3600).expect("a timestamp");
        let (source, secret) = (source.to_owned(), secret.to_owned());
        SecretUse { source, secret, events: 1, first_used_at: at(first), last_used_at: at(last), skew: None }
    }

    fn safe(uses: &[SecretUse]) -> Vec<&str> {
        let now = Timestamp::from_second(NOW).expect("a timestamp");
        let safe = uses.iter().filter(|it| it.is_safe_to_remove(uses, now));
        safe.map(|it| it.secret.as_str()).collect()
    }

    #[test]
    fn the_older_one_can_go_when_nothing_signed_with_it_can_come_any_more() {
        assert_eq!(safe(&[used("app", "old", 900, 37), used("app", "new", 60, 0)]), ["old"]);
        assert_eq!(safe(&[used("app", "old", 900, 36), used("app", "new", 60, 0)]), [""; 0], "it may be repeated");
        assert_eq!(safe(&[used("app", "a", 900, 90), used("app", "b", 90, 50), used("app", "c", 50, 40)]), ["a", "b"]);
    }

    #[test]
    fn silence_alone_makes_none_dispensable() {
        assert_eq!(safe(&[used("app", "only", 900, 400)]), [""; 0]);
        assert_eq!(safe(&[used("app", "old", 900, 400), used("seam", "new", 60, 0)]), [""; 0], "another source's");
        let tried = [used("app", "old", 900, 40), used("app", "new", 300, 300)];
        assert_eq!(safe(&tried), [""; 0], "the new one was tried, and the old one is at work");
    }
}
