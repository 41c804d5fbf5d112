//! When to try again, and when to give up: Svix's schedule, which Seam's documents state as their own.

use jiff::{SignedDuration, Timestamp};

use crate::clock::add;
use crate::sandbox::world::rules::scaled;

/// Pauses between the attempts: eight in all, over 27 h 35 min 5 s.
const PAUSES: [SignedDuration; 7] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(10),
];

/// After a timeout or a 429 at least this long.
const OVERLOAD_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// A recipient that did nothing but fail for so long is given up.
const PATIENCE: SignedDuration = SignedDuration::from_hours(5 * 24);

/// How an attempt failed, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Plain,
    /// It took too long, or the recipient asked for patience; with `Retry-After`, if it said for how long.
    Overload {
        retry_after: Option<SignedDuration>,
    },
}

/// When attempt number `attempt + 1` is due after attempt number `attempt` (from 1) failed; `None` after the last.
/// `luck` in `0.0..1.0` moves a pause by up to a fifth. `Retry-After` holds between one and two times the pause.
pub(super) fn next_attempt(
    attempt: usize,
    failure: Failure,
    now: Timestamp,
    speed: f64,
    luck: f64,
) -> Option<Timestamp> {
    let mut pause = *PAUSES.get(attempt.checked_sub(1)?)?;
    if let Failure::Overload { retry_after } = failure {
        pause = pause.max(OVERLOAD_PAUSE);
        pause = retry_after.map_or(pause, |asked| asked.clamp(pause, pause + pause));
    }
    let jitter = 0.8 + 0.4 * luck;
    let pause = SignedDuration::try_from_secs_f64(pause.as_secs_f64() * jitter).unwrap_or(pause);
    Some(add(now, scaled(pause, speed)))
}

pub(super) fn is_given_up(failing_since: Timestamp, now: Timestamp, speed: f64) -> bool {
    now >= add(failing_since, scaled(PATIENCE, speed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(attempt: usize, failure: Failure) -> Option<SignedDuration> {
        let now = Timestamp::UNIX_EPOCH;
        next_attempt(attempt, failure, now, 1.0, 0.5).map(|at| at.duration_since(now))
    }

    #[test]
    fn eight_attempts_span_more_than_a_day() {
        let pauses: Vec<SignedDuration> = (1..).map_while(|attempt| pause(attempt, Failure::Plain)).collect();
        assert_eq!(pauses.len(), 7);
        assert_eq!(pauses.iter().sum::<SignedDuration>(), SignedDuration::from_secs(27 * 3600 + 35 * 60 + 5));
    }

    #[test]
    fn overload_waits_a_minute_and_heeds_retry_after_within_reason() {
        let overload = |seconds| Failure::Overload { retry_after: Some(SignedDuration::from_secs(seconds)) };
        assert_eq!(pause(1, Failure::Overload { retry_after: None }), Some(SignedDuration::from_secs(60)));
        assert_eq!(pause(1, overload(90)), Some(SignedDuration::from_secs(90)));
        assert_eq!(pause(1, overload(9_000)), Some(SignedDuration::from_secs(120)));
    }

    #[test]
    fn jitter_is_a_fifth_and_speed_divides() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |speed, luck| next_attempt(1, Failure::Plain, now, speed, luck).map(|at| at.duration_since(now));
        assert_eq!(at(1.0, 0.0), Some(SignedDuration::from_secs(4)));
        assert_eq!(at(1000.0, 0.5), Some(SignedDuration::from_millis(5)));
    }

    #[test]
    fn five_days_of_failure_are_enough() {
        let since = Timestamp::UNIX_EPOCH;
        let day = SignedDuration::from_hours(24);
        assert!(!is_given_up(since, add(since, day * 4), 1.0));
        assert!(is_given_up(since, add(since, day * 5), 1.0));
    }
}
