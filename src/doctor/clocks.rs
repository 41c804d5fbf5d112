//! Do the clocks agree? Signatures are good for five minutes, and leases of several workers for seconds.

use jiff::SignedDuration;

use super::{Reading, Report};

/// The `Date` of an HTTP answer is cut to the second, and the way back takes a while.
const FINE: SignedDuration = SignedDuration::from_secs(5);
const BEARABLE: SignedDuration = SignedDuration::from_secs(60);

pub(super) fn compare(readings: Vec<Reading>) -> Report {
    let mut report = Report::of("clocks");
    if readings.is_empty() {
        report.ok("nobody was there to compare this machine's clock with");
    }
    for Reading { whose, theirs, ours } in readings {
        let ahead = ours.duration_since(theirs);
        let apart = SignedDuration::from_secs(ahead.abs().as_secs());
        let direction = if ahead.is_positive() { "ahead of" } else { "behind" };
        let what = format!("this machine's clock is {apart:#} {direction} the {whose}'s");
        if apart <= FINE {
            report.ok(format!("this machine's clock and the {whose}'s agree"));
        } else if apart <= BEARABLE {
            report.warning(what, "let NTP set the clock of whichever machine is off");
        } else {
            report.problem(
                format!("{what}: webhooks that are five minutes off are refused, and leases end at wrong times"),
                "let NTP set the clock of whichever machine is off (`timedatectl` shows whether it does)",
            );
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off_in_either_direction() {
        let at = |seconds: i64| jiff::Timestamp::new(1_700_000_000 + seconds, 0).expect("a time");
        for (off, verdict) in [
            (0, Verdict::Ok),
            (5, Verdict::Ok),
            (-5, Verdict::Ok),
            (6, Verdict::Warning),
            (-60, Verdict::Warning),
            (61, Verdict::Problem),
            (-240, Verdict::Problem),
        ] {
            let report = compare(vec![Reading { whose: "provider", theirs: at(0), ours: at(off) }]);
            assert_eq!(report.findings[0].verdict, verdict, "{off} s");
        }
    }
}
