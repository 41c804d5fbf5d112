//! The circuit breaker: when all calls wait, and who finds out whether they still must. A pure state machine.
//!
//! What speaks of the provider as a whole is a call without an answer to work with: no connection, a timeout, a 5xx,
//! garbage, a 429, a refused key. Enough of these in a row, and no success between, open the breaker; a success closes
//! it. A refusal in the provider's own words is a success here: somebody was there and understood.
//!
//! One person's trouble is not the provider's. While all failures in a row are of one person, that person alone waits,
//! as if the breaker were open; everybody else is called for, and the first of them settles the question either way.

use jiff::{SignedDuration, Timestamp};

use crate::clock;

/// When to stop calling, and how to begin again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that open the breaker.
    pub failures_max: u32,
    /// From the opening to the first probe; each probe that fails doubles it.
    pub probe_after: SignedDuration,
    pub probe_after_max: SignedDuration,
    /// The longest rest that a `Retry-After` is granted; the provider's client holds it to the same.
    pub rest_max: SignedDuration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failures_max: 5,
            probe_after: SignedDuration::from_secs(1),
            probe_after_max: SignedDuration::from_secs(30),
            rest_max: SignedDuration::from_mins(1),
        }
    }
}

/// An outage that was shorter leaves the waits of events as they are: they are short as well, and a provider that fails
/// every other call must not have everything thrown at it each time.
const OUTAGE_MIN: SignedDuration = SignedDuration::from_secs(10);

/// How things stand with the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Working,
    /// Calls for one person fail, and nobody else's has said yet whether it is the person or the provider.
    Suspected {
        since: Timestamp,
        failures: u32,
        why: String,
        probe_at: Timestamp,
    },
    /// The provider asked to be left alone.
    Resting {
        until: Timestamp,
        why: String,
    },
    /// The breaker is open.
    Away {
        since: Timestamp,
        failures: u32,
        why: String,
        probe_at: Timestamp,
    },
}

impl Standing {
    /// In words for people: what is wrong, since when, and when it will be tried again.
    pub fn verdict(&self) -> Result<(), String> {
        match self {
            Self::Working => Ok(()),
            Self::Suspected { since, failures, why, probe_at } => Err(format!(
                "{failures} calls in a row failed since {since:.0}, all for one person, whose next is at {probe_at:.0} or \
                 later; others are called for ({why})"
            )),
            Self::Resting { until, why } => Err(format!("it asked not to be called before {until:.0} ({why})")),
            Self::Away { since, failures, why, probe_at } => Err(format!(
                "{failures} calls in a row failed since {since:.0}; one at a time asks again, the next at {probe_at:.0} or \
                 later ({why})"
            )),
        }
    }
}

/// How a call was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Usual,
    /// The call is to find out whether others must still wait.
    Probe,
}

#[derive(Debug)]
pub(super) struct Breaker {
    rules: Rules,
    streak: Option<Streak>,
    rest: Option<Rest>,
}

/// Failures in a row.
#[derive(Debug)]
struct Streak {
    since: Timestamp,
    failures: u32,
    /// The one person whose calls they were; `None` once others' failed too.
    person: Option<String>,
    why: String,
    /// Set once they are too many.
    probing: Option<Probing>,
}

#[derive(Debug)]
struct Probing {
    failed: u32,
    next_at: Timestamp,
}

#[derive(Debug)]
struct Rest {
    until: Timestamp,
    why: String,
}

impl Breaker {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, streak: None, rest: None }
    }

    /// Nothing has failed since the last success, and nothing was asked of us: whatever the time.
    pub(super) fn is_at_ease(&self) -> bool {
        self.streak.is_none() && self.rest.is_none()
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        if let Some(rest) = &self.rest
            && is_ahead(rest.until, now, self.rules.rest_max)
        {
            return Standing::Resting { until: rest.until, why: rest.why.clone() };
        }
        let Some(Streak { since, failures, person, why, probing: Some(probing) }) = &self.streak else {
            return Standing::Working;
        };
        let (since, failures, why) = (*since, *failures, why.clone());
        // A time too far ahead was set before the clock stepped back.
        let is_ahead = is_ahead(probing.next_at, now, self.longest_wait());
        let probe_at = if is_ahead { probing.next_at } else { now };
        match person {
            Some(_) => Standing::Suspected { since, failures, why, probe_at },
            None => Standing::Away { since, failures, why, probe_at },
        }
    }

    /// Whether a call for `person` would be let through; or until when it must wait and why.
    pub(super) fn would_admit(&self, now: Timestamp, person: Option<&str>) -> Result<Pass, (Timestamp, String)> {
        let suspect = self.streak.as_ref().and_then(|streak| streak.person.as_deref());
        match self.standing(now) {
            Standing::Working => Ok(Pass::Usual),
            Standing::Suspected { .. } if suspect != person => Ok(Pass::Usual),
            Standing::Resting { until, why } => Err((until, why)),
            Standing::Suspected { probe_at, why, .. } | Standing::Away { probe_at, why, .. } if probe_at > now => {
                Err((probe_at, why))
            }
            Standing::Suspected { .. } | Standing::Away { .. } => Ok(Pass::Probe),
        }
    }

    /// Lets a call for `person` through that is made now.
    pub(super) fn admit(&mut self, now: Timestamp, person: Option<&str>) -> Result<Pass, (Timestamp, String)> {
        let pass = self.would_admit(now, person)?;
        if pass == Pass::Probe
            && let Some(probing) = self.streak.as_mut().and_then(|streak| streak.probing.as_mut())
        {
            // The next one is due some time after this one has failed; or, should nobody hear of it again, then.
            probing.next_at = clock::add(now, self.rules.probe_after_max);
        }
        Ok(pass)
    }

    /// The provider answered. Returns how long it was away, if that was an outage.
    pub(super) fn succeeded(&mut self, now: Timestamp) -> Option<SignedDuration> {
        let streak = self.streak.take()?;
        let lasted = now.duration_since(streak.since);
        (streak.probing.is_some() && streak.person.is_none() && lasted >= OUTAGE_MIN).then_some(lasted)
    }

    /// A call for `person` (`None`: for nobody in particular) got no answer to work with. Returns whether that opened the
    /// breaker.
    ///
    /// `chance` in `0.0..1.0` spreads the probes of several processes.
    pub(super) fn failed(
        &mut self,
        now: Timestamp,
        chance: f64,
        pass: Pass,
        person: Option<&str>,
        why: String,
    ) -> bool {
        let was_open = self.is_open();
        let streak = self.streak.get_or_insert_with(|| Streak {
            since: now,
            failures: 0,
            person: person.map(str::to_owned),
            why: String::new(),
            probing: None,
        });
        streak.failures = streak.failures.saturating_add(1);
        streak.why = why;
        if streak.person.as_deref() != person {
            streak.person = None;
        }
        // Calls that were under way when the breaker opened say nothing that is new.
        let says_something_new = !was_open || pass == Pass::Probe;
        if streak.failures >= self.rules.failures_max && says_something_new {
            let failed = streak.probing.as_ref().map_or(0, |probing| probing.failed.saturating_add(1));
            let doubled = self.rules.probe_after.checked_mul(1 << failed.min(20)).unwrap_or(self.rules.probe_after_max);
            let wait = doubled.min(self.rules.probe_after_max).mul_f64(SPREAD_MIN + chance * (SPREAD_MAX - SPREAD_MIN));
            streak.probing = Some(Probing { failed, next_at: clock::add(now, wait) });
        }
        !was_open && self.is_open()
    }

    /// The provider asked that nothing be sent for this long.
    pub(super) fn rest(&mut self, now: Timestamp, wait: SignedDuration, why: String) {
        self.rest = Some(Rest { until: clock::add(now, wait.min(self.rules.rest_max)), why });
    }

    fn is_open(&self) -> bool {
        self.streak.as_ref().is_some_and(|streak| streak.probing.is_some() && streak.person.is_none())
    }

    fn longest_wait(&self) -> SignedDuration {
        self.rules.probe_after_max.mul_f64(SPREAD_MAX)
    }
}

/// Probes come within a fifth of their time.
const SPREAD_MIN: f64 = 0.8;
const SPREAD_MAX: f64 = 1.2;

/// `at` is still to come, and no farther away than it can have been set.
fn is_ahead(at: Timestamp, now: Timestamp, wait_max: SignedDuration) -> bool {
    at > now && at.duration_since(now) <= wait_max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    /// What happens to the breaker, second by second.
    enum Step {
        /// A call for this person is let through and fails.
        Fails(&'static str),
        /// A call that was let through before now fails.
        FailsLate(&'static str),
        Succeeds,
        Asks(i64),
        Passes(i64),
        /// The clock is set back.
        SetBack(i64),
        /// So it stands now.
        Stands(&'static str),
    }
    use Step::{Asks, Fails, FailsLate, Passes, SetBack, Stands, Succeeds};

    fn word(standing: &Standing, now: Timestamp) -> String {
        let seconds = |at: &Timestamp| at.duration_since(now).as_secs();
        match standing {
            Standing::Working => "working".to_owned(),
            Standing::Suspected { failures, probe_at, .. } => format!("suspected {failures}, {} s", seconds(probe_at)),
            Standing::Resting { until, .. } => format!("resting {} s", seconds(until)),
            Standing::Away { failures, probe_at, .. } => format!("away {failures}, {} s", seconds(probe_at)),
        }
    }

    fn play(name: &str, steps: &[Step]) {
        let clock = ManualClock::starting_at("2026-03-01T10:00:00Z".parse().expect("a time"));
        let mut set_back = SignedDuration::ZERO;
        let rules = Rules { failures_max: 3, probe_after_max: SignedDuration::from_secs(8), ..Rules::default() };
        let mut breaker = Breaker::new(rules);
        for (index, step) in steps.iter().enumerate() {
            let now = clock::add(clock.now(), -set_back);
            match step {
                Fails(person) => {
                    let pass = breaker
                        .admit(now, Some(person))
                        .unwrap_or_else(|_| panic!("{name}: step {index} is not let through"));
                    breaker.failed(now, 0.5, pass, Some(person), "503".to_owned());
                }
                FailsLate(person) => drop(breaker.failed(now, 0.5, Pass::Usual, Some(person), "503".to_owned())),
                Succeeds => drop(breaker.succeeded(now)),
                Asks(seconds) => breaker.rest(now, SignedDuration::from_secs(*seconds), "429".to_owned()),
                Passes(seconds) => clock.advance(SignedDuration::from_secs(*seconds)),
                SetBack(seconds) => set_back += SignedDuration::from_secs(*seconds),
                Stands(expected) => {
                    let standing = breaker.standing(now);
                    assert_eq!(word(&standing, now), *expected, "{name}: step {index}");
                    // Whoever is suspected, this is somebody else.
                    let is_shut = matches!(standing, Standing::Resting { .. })
                        || matches!(standing, Standing::Away { probe_at, .. } if probe_at > now);
                    if is_shut {
                        assert!(breaker.admit(now, Some("z")).is_err(), "{name}: step {index} lets a call through");
                    }
                }
            }
        }
    }

    #[test]
    fn the_table() {
        let cases: [(&str, &[Step]); 12] = [
            (
                "too few",
                &[Fails("a"), Fails("b"), Stands("working"), Succeeds, Fails("a"), Fails("b"), Stands("working")],
            ),
            ("enough", &[Fails("a"), Fails("b"), Fails("a"), Stands("away 3, 1 s"), Passes(1), Stands("away 3, 0 s")]),
            (
                "each probe that fails doubles the wait, up to the longest",
                &[
                    Fails("a"),
                    Fails("b"),
                    Fails("c"),
                    Passes(1),
                    Fails("a"),
                    Stands("away 4, 2 s"),
                    Passes(2),
                    Fails("b"),
                    Stands("away 5, 4 s"),
                    Passes(4),
                    Fails("c"),
                    Stands("away 6, 8 s"),
                    Passes(8),
                    Fails("d"),
                    Stands("away 7, 8 s"),
                ],
            ),
            ("a probe that succeeds", &[Fails("a"), Fails("b"), Fails("c"), Passes(1), Succeeds, Stands("working")]),
            (
                "late failures push no probe away",
                &[Fails("a"), Fails("b"), Fails("c"), FailsLate("d"), FailsLate("e"), Stands("away 5, 1 s")],
            ),
            ("a late success counts", &[Fails("a"), Fails("b"), Fails("c"), Succeeds, Stands("working")]),
            (
                "one person's failures keep only that person waiting",
                &[
                    Fails("a"),
                    Fails("a"),
                    Fails("a"),
                    Stands("suspected 3, 1 s"),
                    Passes(1),
                    Fails("a"),
                    Stands("suspected 4, 2 s"),
                ],
            ),
            (
                "until another's call settles the question: it fails too",
                &[Fails("a"), Fails("a"), Fails("a"), Fails("b"), Stands("away 4, 2 s")],
            ),
            (
                "or it succeeds",
                &[Fails("a"), Fails("a"), Fails("a"), Succeeds, Stands("working"), Fails("a"), Stands("working")],
            ),
            (
                "a rest is for all",
                &[Asks(20), Stands("resting 20 s"), Passes(19), Stands("resting 1 s"), Passes(1), Stands("working")],
            ),
            ("an absurd rest is cut", &[Asks(i64::MAX), Stands("resting 60 s")]),
            (
                "a clock that is set back locks nobody out",
                &[
                    Asks(20),
                    SetBack(3600),
                    Stands("working"),
                    Fails("a"),
                    Fails("b"),
                    Fails("c"),
                    SetBack(3600),
                    Stands("away 3, 0 s"),
                ],
            ),
        ];
        for (name, steps) in cases {
            play(name, steps);
        }
    }

    #[test]
    fn one_call_at_a_time_is_the_probe() {
        let now = Timestamp::UNIX_EPOCH;
        let mut breaker = Breaker::new(Rules { failures_max: 1, ..Rules::default() });
        breaker.failed(now, 0.5, Pass::Usual, None, "no connection".to_owned());
        let due = clock::add(now, SignedDuration::from_secs(1));
        assert_eq!(breaker.admit(due, None), Ok(Pass::Probe));
        assert!(breaker.admit(due, None).is_err(), "the probe is under way");
        let forgotten = clock::add(due, SignedDuration::from_secs(30));
        assert_eq!(breaker.admit(forgotten, None), Ok(Pass::Probe), "nobody has heard of it again");
    }

    #[test]
    fn whoever_is_suspected_waits_and_others_do_not() {
        let now = Timestamp::UNIX_EPOCH;
        let mut breaker = Breaker::new(Rules { failures_max: 1, ..Rules::default() });
        breaker.failed(now, 0.5, Pass::Usual, Some("a"), "no answer".to_owned());
        assert!(breaker.admit(now, Some("a")).is_err());
        assert_eq!(breaker.admit(now, Some("b")), Ok(Pass::Usual));
        assert_eq!(breaker.admit(now, None), Ok(Pass::Usual));
    }

    #[test]
    fn a_verdict_names_the_reason_and_the_next_try() {
        let at: Timestamp = "2026-03-01T10:00:00Z".parse().expect("a time");
        let (since, probe_at, until) = (at, clock::add(at, SignedDuration::from_secs(8)), at);
        let away = Standing::Away { since, failures: 5, why: "no connection".to_owned(), probe_at };
        assert_eq!(
            away.verdict().expect_err("a trouble"),
            "5 calls in a row failed since 2026-03-01T10:00:00Z; one at a time asks again, the next at \
             2026-03-01T10:00:08Z or later (no connection)"
        );
        let resting = Standing::Resting { until, why: "429".to_owned() };
        assert_eq!(
            resting.verdict().expect_err("a trouble"),
            "it asked not to be called before 2026-03-01T10:00:00Z (429)"
        );
    }

    #[test]
    fn only_an_outage_is_told_when_it_ends() {
        let now = Timestamp::UNIX_EPOCH;
        let rules = Rules { failures_max: 1, ..Rules::default() };
        let away = |person, seconds| {
            let mut breaker = Breaker::new(rules.clone());
            breaker.failed(now, 0.5, Pass::Usual, person, "503".to_owned());
            breaker.succeeded(clock::add(now, SignedDuration::from_secs(seconds)))
        };
        assert_eq!(away(None, 10), Some(SignedDuration::from_secs(10)));
        assert_eq!(away(None, 9), None, "it was short");
        assert_eq!(away(Some("a"), 10), None, "it was one person's trouble");
    }
}
