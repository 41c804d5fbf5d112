//! When an issuance is looked at again, whatever events come or stay away.
//!
//! Events make Keyferry fast; looks make it right. A webhook may be lost, a handling may be parked, an end comes without
//! anybody saying so: each issuance whose life is not over therefore has a time for its next look, and the sweep sees to
//! it that the look is had.

use jiff::{SignedDuration, Timestamp};

use super::issuance::{Issuance, Status};
use super::plan::{AccessMethod, Plan};

/// A stay is near from this long before it starts: a phone may come at any time, and its key should not be long in
/// coming. Before that, a key that is not there yet is missed by nobody.
const NEAR: SignedDuration = SignedDuration::from_hours(24);

/// How often to look. What waits for something is looked at in growing waits, what stands still now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// The wait for the first look after a change.
    pub first: SignedDuration,
    /// The longest wait between two looks at what should change soon.
    pub most: SignedDuration,
    /// The wait between two looks at what nothing is expected of: an issued key, a plan for a stay that is far off.
    pub refresh: SignedDuration,
    /// How long a phone may wait for its key before its plan is overdue.
    pub overdue_after: SignedDuration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            first: SignedDuration::from_secs(30),
            most: SignedDuration::from_mins(30),
            refresh: SignedDuration::from_hours(6),
            overdue_after: SignedDuration::from_mins(10),
        }
    }
}

impl Rhythm {
    /// When to look next, after a look (or a change) at `now`. `None`: its life is over, or only a person can help.
    ///
    /// `waiting_since`: since when a phone has waited for its key, if one does.
    #[must_use]
    pub fn next_look(
        &self,
        plan: &Plan,
        issuance: &Issuance,
        waiting_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let is_cancelled = plan.deleted_at.is_some();
        let regular = match issuance.status {
            Status::Revoked | Status::Ended => return None,
            // What the provider refused is parked for a person: it is not tried again blindly, but it does end.
            Status::Failed if !is_cancelled => return plan.spec.ends_at.map(|end| later(end, now, self.first)),
            Status::Creating | Status::Unknown => {
                later(issuance.intent.map_or(now, |intent| intent.settles_at), now, self.first)
            }
            Status::Created => self.soon(issuance, now),
            Status::Planned | Status::Failed | Status::Issued if is_cancelled || waiting_since.is_some() => {
                self.soon(issuance, now)
            }
            Status::Planned => match near(plan) {
                Some(near) if near > now => near.min(add(now, self.refresh)),
                _ => self.soon(issuance, now),
            },
            Status::Failed | Status::Issued => add(now, self.refresh),
        };
        let end = plan.spec.ends_at.map(whole_millisecond).filter(|_| !is_cancelled);
        let overdue = self.overdue_at(plan, issuance, waiting_since);
        // Some moments are not to be missed.
        Some([end, overdue].into_iter().flatten().filter(|moment| *moment > now).fold(regular, Timestamp::min))
    }

    /// Whether a phone has waited too long for its key.
    #[must_use]
    pub fn is_overdue(
        &self,
        plan: &Plan,
        issuance: &Issuance,
        waiting_since: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        plan.is_live(now) && self.overdue_at(plan, issuance, waiting_since).is_some_and(|overdue_at| overdue_at <= now)
    }

    /// The time counts from when both the phone and the plan were known, but not from before the stay was near. What has
    /// no phones (a code, a card) waits from when it was planned. What failed says so already.
    fn overdue_at(&self, plan: &Plan, issuance: &Issuance, waiting_since: Option<Timestamp>) -> Option<Timestamp> {
        let since = match issuance.status {
            Status::Failed | Status::Revoked | Status::Ended => return None,
            Status::Issued => waiting_since?,
            _ if plan.spec.access_method == AccessMethod::MobileKey => waiting_since?,
            _ => plan.put_at,
        };
        let since = since.max(plan.put_at).max(near(plan).unwrap_or(plan.put_at));
        Some(whole_millisecond(add(since, self.overdue_after)))
    }

    /// As long again as it has stood like this: 30 s, 30 s, 1 min, 2 min … 30 min.
    fn soon(&self, issuance: &Issuance, now: Timestamp) -> Timestamp {
        let stood = now.duration_since(issuance.changed_at);
        add(now, stood.clamp(self.first, self.most.max(self.first)))
    }
}

fn near(plan: &Plan) -> Option<Timestamp> {
    plan.spec.starts_at.map(|start| add(start, -NEAR))
}

/// `at`, or `wait` from now where that has passed.
fn later(at: Timestamp, now: Timestamp, wait: SignedDuration) -> Timestamp {
    let at = whole_millisecond(at);
    if at > now { at } else { add(now, wait) }
}

fn add(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.saturating_add(duration).unwrap_or(at)
}

/// Times are kept in milliseconds: a look that came a part of one too early would find nothing.
fn whole_millisecond(at: Timestamp) -> Timestamp {
    match Timestamp::from_millisecond(at.as_millisecond()) {
        Ok(cut) if cut < at => add(cut, SignedDuration::from_millis(1)),
        Ok(cut) => cut,
        Err(_) => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PlanSpec;
    use crate::domain::issuance::{Intent, Seen};

    fn at(minute: i64) -> Timestamp {
        let start: Timestamp = "2026-03-01T10:00:00Z".parse().expect("a time");
        add(start, SignedDuration::from_mins(minute))
    }

    /// Put at minute 0; from minute 0 to minute 100 unless said otherwise.
    fn plan() -> Plan {
        let body = br#"{"user_identity_id": "u", "acs_user_id": "a", "starts_at": "2026-03-01T10:00:00Z",
            "ends_at": "2026-03-01T11:40:00.0005Z"}"#;
        let spec = PlanSpec::from_json(body).expect("a plan");
        Plan { key: "booking-1".to_owned(), spec, put_at: at(0), deleted_at: None }
    }

    fn planned() -> Issuance {
        Issuance { changed_at: at(0), ..Issuance::planned(&plan()) }
    }

    /// The minutes at which somebody looks, if nothing ever changes.
    fn looks(plan: &Plan, issuance: &Issuance, waiting_since: Option<Timestamp>, until: Timestamp) -> Vec<f64> {
        let (mut now, mut looks) = (at(0), Vec::new());
        while let Some(next) = Rhythm::default().next_look(plan, issuance, waiting_since, now) {
            assert!(next > now, "it looks again at once: {next}");
            now = next;
            if now > until {
                break;
            }
            looks.push((now.duration_since(at(0)).as_secs_f64() / 0.6).round() / 100.0);
        }
        looks
    }

    #[test]
    fn what_waits_is_looked_at_in_growing_waits_and_at_every_moment_that_matters() {
        let created = planned().created("c", None);
        let expected = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 62.0, 92.0, 100.0];
        assert_eq!(looks(&plan(), &created, None, at(101)), expected);
        // Overdue, ten minutes after the phone came.
        let expected = [0.5, 1.0, 2.0, 4.0, 8.0, 13.0, 26.0];
        assert_eq!(looks(&plan(), &created, Some(at(3)), at(40)), expected);
    }

    #[test]
    fn what_stands_still_is_looked_at_now_and_then_and_at_its_end() {
        let issued = planned().created("c", None).seen(Seen::Issued);
        assert_eq!(looks(&plan(), &issued, None, at(100)), [0.0; 0], "a fraction of a millisecond too early");
        assert_eq!(looks(&plan(), &issued, None, at(101)), [100.0]);
        let mut endless = plan();
        endless.spec.ends_at = None;
        assert_eq!(looks(&endless, &issued, None, at(800)), [360.0, 720.0]);
        let mut far = endless.clone();
        far.spec.starts_at = Some(at(24 * 60 + 400));
        assert_eq!(
            looks(&far, &planned(), None, at(800)),
            [360.0, 400.0, 430.0, 460.0, 490.0, 520.0, 550.0, 580.0, 610.0, 640.0, 670.0, 700.0, 730.0, 760.0, 790.0]
        );
    }

    #[test]
    fn a_call_that_may_be_under_way_is_asked_about_once_it_has_settled() {
        let creating = planned().creating(Intent { at: at(0), settles_at: at(3) });
        assert_eq!(Rhythm::default().next_look(&plan(), &creating, None, at(1)), Some(at(3)));
        let settled = Rhythm::default().next_look(&plan(), &creating, None, at(5));
        assert_eq!(settled, Some(add(at(5), SignedDuration::from_secs(30))));
    }

    #[test]
    fn what_is_over_is_left_alone_and_what_failed_only_ends() {
        let next = |issuance: &Issuance| Rhythm::default().next_look(&plan(), issuance, None, at(1));
        assert_eq!(next(&planned().revoked("gone".to_owned())), None);
        assert_eq!(next(&planned().ended()), None);
        assert_eq!(next(&planned().failed("no such door".to_owned())).map(|end| end > at(100)), Some(true));
    }

    #[test]
    fn overdue_counts_from_when_phone_and_plan_were_known_and_the_stay_was_near() {
        let rhythm = Rhythm::default();
        let created = planned().created("c", None);
        let mut plan = plan();
        let overdue = |plan: &Plan, since: Option<Timestamp>, now| rhythm.is_overdue(plan, &created, since, now);
        assert!(!overdue(&plan, None, at(90)), "no phone waits");
        assert!(!overdue(&plan, Some(at(3)), at(12)));
        assert!(overdue(&plan, Some(at(3)), at(13)));
        assert!(!overdue(&plan, Some(at(-500)), at(9)), "a phone from an earlier stay");
        assert!(!overdue(&plan, Some(at(3)), at(101)), "its time is over");
        plan.spec.ends_at = None;
        plan.spec.starts_at = Some(at(24 * 60 + 30));
        assert!(!overdue(&plan, Some(at(3)), at(39)), "the stay is far off");
        assert!(overdue(&plan, Some(at(3)), at(40)));
        plan.spec.access_method = AccessMethod::Code;
        assert!(overdue(&plan, None, at(40)), "a code waits for no phone");
        assert!(!rhythm.is_overdue(&plan, &created.seen(Seen::Issued), None, at(40)));
    }
}
