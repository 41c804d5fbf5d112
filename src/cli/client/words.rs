//! Statuses, ledger lines and spans of time, in words.

use super::out::Span;
use crate::ops::wire::{Issuance, LedgerLine};

/// A status of an issuance or a phone key, or the second half of a ledger line's kind, in its tone.
pub(super) fn status(word: &str) -> Span {
    match word {
        "issued" | "created" | "done" | "registered" => Span::good(word),
        "planned" | "creating" | "waiting" | "unknown" | "retry" | "overdue" => Span::pending(word),
        "failed" | "parked" => Span::bad(word),
        _ => Span::from(word),
    }
}

/// Where an issuance stands, and what is to be done about it, if anything.
pub(super) fn explained(issuance: &Issuance) -> String {
    let on_phones = issuance.phones.iter().filter(|phone| phone.status == "issued").count();
    let phones = issuance.phones.len();
    match issuance.status.as_str() {
        "planned" => "no credential yet; a mobile key is created with the person's first phone".to_owned(),
        "creating" => "the credential is being created at the provider".to_owned(),
        "created" if phones == 0 => "the credential exists; no phone of the person is known yet".to_owned(),
        "created" => "the credential exists; its key is on its way to the phone".to_owned(),
        "issued" if phones == 0 => "the credential is issued".to_owned(),
        "issued" => format!("the key is on {on_phones} of {phones} {}", if phones == 1 { "phone" } else { "phones" }),
        "unknown" => "whether the credential was created is not known; the worker asks the provider, and creates \
                      nothing before it knows"
            .to_owned(),
        "failed" => {
            format!(
                "the provider refused to create it; mend the plan, then: keyferry plan put {} FILE",
                issuance.plan_key
            )
        }
        "revoked" => "the credential was cancelled or is no longer good".to_owned(),
        "ended" => "its time is over".to_owned(),
        other => format!("{other} (this version does not know that word)"),
    }
}

/// A ledger line: when, what, and about whom.
pub(super) fn line(line: &LedgerLine) -> Vec<Span> {
    let (subject, verb) = line.kind.rsplit_once('.').unwrap_or(("", &line.kind));
    let mut spans = vec![
        Span::faint(format!("{:>6}  {}  ", line.seq, line.at)),
        Span::from(format!("{subject}.")),
        status(verb),
        Span::from(" ".repeat(KIND_WIDTH.saturating_sub(line.kind.chars().count()) + 1)),
    ];
    let about = [
        ("", &line.plan_key),
        ("phone ", &line.device_id),
        ("credential ", &line.acs_credential_id),
        ("person ", &line.user_identity_id),
        ("", &line.event_type),
        ("event ", &line.event_id),
        ("from ", &line.source),
    ];
    for (what, id) in about {
        if let Some(id) = id {
            spans.extend([Span::faint(format!(" {what}")), Span::from(id.as_str())]);
        }
    }
    if let Some(why) = &line.why {
        spans.push(Span::faint(format!(" ({why})")));
    }
    spans
}

/// The longest kind, `phone_key.registered` and its like.
const KIND_WIDTH: usize = 18;

/// The largest unit that says enough.
pub(super) fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_age_is_said_in_the_unit_that_fits() {
        assert_eq!(
            [0, 119, 120, 7199, 7200, 172_800].map(super::age),
            ["0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]
        );
    }
}
