//! Times as Seam writes them: RFC 3339 in UTC, to the millisecond.

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct At(pub(crate) Timestamp);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:.3}", self.0)
    }
}

impl From<Timestamp> for At {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// The millisecond that `at` lies in. The world knows no finer time, since what it cannot write, it must not compare.
pub(crate) fn to_the_millisecond(at: Timestamp) -> Timestamp {
    at.round(jiff::TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Floor)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_written_with_their_milliseconds() {
        let at: Timestamp = "2026-03-01T10:40:05.9876543Z".parse().expect("a timestamp");
        assert_eq!(At(to_the_millisecond(at)).to_string(), "2026-03-01T10:40:05.987Z");
        let whole: Timestamp = "2026-03-01T10:40:05Z".parse().expect("a timestamp");
        assert_eq!(At(whole).to_string(), "2026-03-01T10:40:05.000Z");
    }
}
