//! `keyferry status`

use std::collections::BTreeMap;

use clap::Args as ClapArgs;

use super::api::Client;
use super::out::{Out, Span};
use super::words;
use crate::ops::wire::{CallRate, Calls, Checked, Inbox, Source, Status, Time};

/// Of a clock that is wrong, or a delivery that was held up: below it is the way of the network.
const SKEW_SECONDS_SHOWN: i64 = 30;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Print the API's own JSON (`GET /v1/status`)
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, client: &Client, out: &mut Out<'_>) -> anyhow::Result<()> {
    let reply = client.get(&["v1", "status"], &[]).await?;
    if args.json {
        return Ok(out.json_line(&reply.body)?);
    }
    let status: Status = reply.read()?;
    let verdict = if status.ready { Span::good("ready") } else { Span::bad("NOT READY") };
    out.line([label("state"), verdict])?;
    for check in &status.checks {
        out.line([label(""), checked(check)])?;
    }
    inbox(&status.inbox, out)?;
    out.line(calls(&status.calls))?;
    if status.parked == 0 {
        out.line([label("parked"), "nothing".into()])?;
    } else {
        let next = Span::faint("  look at it with: keyferry parked list");
        out.line([label("parked"), Span::bad(status.parked.to_string()), next])?;
    }
    out.line([label("issuances"), counted(&status.issuances)])?;
    if status.overdue > 0 {
        let what = Span::faint("  a phone has waited too long for its key; see why with: keyferry tail");
        out.line([label("overdue"), Span::bad(status.overdue.to_string()), what])?;
    }
    out.line([label("phone keys"), counted(&status.phone_keys)])?;
    for (index, source) in status.sources.iter().enumerate() {
        sender(if index == 0 { "senders" } else { "" }, source, &status.at, out)?;
    }
    out.line([label("ledger"), format!("{} lines", status.ledger_head).into()])?;
    Ok(())
}

fn label(text: &str) -> Span {
    Span::faint(format!("{text:<12}"))
}

fn checked(check: &Checked) -> Span {
    match &check.why {
        None => Span::from(format!("{} works", check.name)),
        Some(why) if check.vital => Span::bad(format!("{} does not work: {why}", check.name)),
        Some(why) => Span::pending(format!("{} does not work, so what needs it waits: {why}", check.name)),
    }
}

fn inbox(inbox: &Inbox, out: &mut Out<'_>) -> anyhow::Result<()> {
    let Some(age) = inbox.oldest_age_seconds else { return Ok(out.line([label("inbox"), "empty".into()])?) };
    let counts = format!("{} waiting, {} retrying, {} in flight", inbox.waiting, inbox.retrying, inbox.in_flight);
    out.line([label("inbox"), counts.into(), Span::faint(format!("  the oldest came in {} ago", words::age(age)))])?;
    for reason in &inbox.reasons {
        out.line([label(""), Span::pending(format!("{} × ", reason.count)), reason.why.as_str().into()])?;
    }
    Ok(())
}

/// A line for a source, and one for each secret where there is something to choose.
fn sender(title: &str, source: &Source, now: &Time, out: &mut Out<'_>) -> anyhow::Result<()> {
    let skew = source.clock_skew_seconds.filter(|skew| skew.abs() >= SKEW_SECONDS_SHOWN).map(|skew| {
        let (age, way) = (words::age(skew.abs()), if skew < 0 { "in the future" } else { "old" });
        Span::pending(format!("  its last signature was {age} {way} when it came; compare the clocks"))
    });
    let mut spans = vec![label(title), Span::from(source.name.as_str())];
    spans.extend(skew);
    out.line(spans)?;
    for secret in &source.secrets {
        let used = match &secret.last_used_at {
            None => "not used yet".to_owned(),
            Some(last) => {
                let age = words::age(now.0.duration_since(last.0).as_secs().max(0));
                format!("{} {}, the last {age} ago", secret.events, if secret.events == 1 { "event" } else { "events" })
            }
        };
        let verdict = match (secret.configured, secret.safe_to_remove) {
            (Some(false), _) => Some(Span::faint("  no longer configured")),
            (_, true) => Some(Span::good("  no longer needed: it can be taken out of the configuration")),
            _ => None,
        };
        let mut spans =
            vec![label(""), Span::faint("secret "), secret.name.as_str().into(), format!(": {used}").into()];
        spans.extend(verdict);
        out.line(spans)?;
    }
    Ok(())
}

fn calls(calls: &Calls) -> Vec<Span> {
    let limits = format!("up to {} events at work at once", calls.in_flight_max);
    let Some(CallRate { per_second_max, burst_max, burst_used }) = calls.rate else {
        return vec![label("calls"), limits.into(), Span::faint(", calls at any rate")];
    };
    let used = format!(", {per_second_max} calls a second, {burst_used} of a burst of {burst_max} used");
    let waits = burst_used >= burst_max;
    let used = if waits { Span::pending(format!("{used}: calls wait for it")) } else { Span::faint(used) };
    vec![label("calls"), limits.into(), used]
}

fn counted(counts: &BTreeMap<String, i64>) -> Span {
    let counts: Vec<String> =
        counts.iter().filter(|(_, count)| **count > 0).map(|(word, count)| format!("{count} {word}")).collect();
    if counts.is_empty() { "none".into() } else { counts.join(", ").into() }
}
