//! `keyferry show KEY`

use clap::Args as ClapArgs;

use super::api::Client;
use super::out::{Out, Span};
use super::words;
use crate::ops::wire::{Issuance, Ledger, PhoneKey};

/// Ledger lines at the end of the story.
const LINES: &str = "12";

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  keyferry show booking-1\n  keyferry show booking-1 --json | jq -r .status")]
pub struct Args {
    /// The plan's key
    key: String,
    /// Print the API's own JSON (`GET /v1/issuances/KEY`)
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, client: &Client, out: &mut Out<'_>) -> anyhow::Result<()> {
    let reply = client.get(&["v1", "issuances", &args.key], &[]).await?;
    if args.json {
        return Ok(out.json_line(&reply.body)?);
    }
    let issuance: Issuance = reply.read()?;
    let lines = client.get(&["v1", "issuances", &args.key, "ledger"], &[("limit", LINES)]).await?;
    let lines: Ledger = lines.read()?;
    head(&issuance, out)?;
    phones(&issuance.phones, out)?;
    out.blank()?;
    for line in &lines.ledger {
        out.line(words::line(line))?;
    }
    Ok(())
}

fn head(issuance: &Issuance, out: &mut Out<'_>) -> anyhow::Result<()> {
    let explained = format!(": {}", words::explained(issuance));
    out.line([Span::strong(&issuance.plan_key), " is ".into(), words::status(&issuance.status), explained.into()])?;
    if issuance.overdue {
        out.line([Span::pending("It is overdue: the key should have been on a phone by now.")])?;
    }
    if let Some(error) = &issuance.error {
        out.line([Span::bad("Because: "), error.as_str().into()])?;
    }
    out.blank()?;
    let attempts = Some(issuance.attempts.to_string()).filter(|_| issuance.attempts > 1);
    for (what, value) in [
        ("person", Some(&issuance.user_identity_id)),
        ("ACS user", issuance.acs_user_id.as_ref()),
        ("credential", issuance.acs_credential_id.as_ref()),
        ("calls to create", attempts.as_ref()),
    ] {
        if let Some(value) = value {
            out.line([Span::faint(format!("{what:<17}")), value.as_str().into()])?;
        }
    }
    Ok(())
}

fn phones(phones: &[PhoneKey], out: &mut Out<'_>) -> anyhow::Result<()> {
    if phones.is_empty() {
        return Ok(());
    }
    let row = |phone: &PhoneKey| {
        [
            phone.device_id.as_str().into(),
            words::status(&phone.status),
            phone.acs_credential_id.as_deref().unwrap_or("-").into(),
            phone.issued_at.map_or_else(|| "-".to_owned(), |at| at.to_string()).into(),
        ]
    };
    out.blank()?;
    let rows: Vec<[Span; 4]> = phones.iter().map(row).collect();
    Ok(out.table(["PHONE", "KEY", "CREDENTIAL ON IT", "ISSUED AT"], &rows)?)
}
