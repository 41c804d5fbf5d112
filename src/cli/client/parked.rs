//! `keyferry parked list|show|release|discard`

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::Client;
use super::out::{Out, Span};
use crate::ops::wire::{ParkedItem, Settled};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// List what is parked, oldest first
    List {
        /// Print JSON lines, as the API gives them
        #[arg(long)]
        json: bool,
    },
    /// Show one item: why it is parked, and its body
    #[command(after_help = "Examples:\n  keyferry parked show 3\n  keyferry parked show 3 --raw > body.json")]
    Show {
        id: i64,
        /// Print the API's own JSON
        #[arg(long, conflicts_with = "raw")]
        json: bool,
        /// Print the body's bytes and nothing else
        #[arg(long)]
        raw: bool,
    },
    /// Let items in again, once what was in the way is mended
    ///
    /// An event is handled anew, with all its attempts before it. A delivery that could not be read is read again, and
    /// stays parked if it still cannot be.
    Release {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Give up on items for good; their bytes stay in the store
    Discard {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

#[derive(Deserialize)]
struct Page {
    parked: Vec<Box<RawValue>>,
    next: Option<String>,
}

pub(super) async fn run(action: Action, client: &Client, out: &mut Out<'_>) -> anyhow::Result<()> {
    match action {
        Action::List { json } => list(client, out, json).await,
        Action::Show { id, json, raw } => show(client, out, id, json, raw).await,
        Action::Release { ids } => settle(client, out, &ids, "release").await,
        Action::Discard { ids } => settle(client, out, &ids, "discard").await,
    }
}

async fn list(client: &Client, out: &mut Out<'_>, is_json: bool) -> anyhow::Result<()> {
    let mut cursor: Option<String> = None;
    loop {
        let page: Page = client.page(&["v1", "parked"], cursor.as_deref()).await?;
        if is_json {
            for item in &page.parked {
                out.json_line(item.get().as_bytes())?;
            }
        } else if page.parked.is_empty() && cursor.is_none() {
            out.line(["Nothing is parked."])?;
        } else {
            let rows = page.parked.iter().map(|item| row(item)).collect::<Result<Vec<_>, _>>()?;
            out.table(["ID", "SOURCE", "EVENT", "RECEIVED AT", "WHY"], &rows)?;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn row(item: &RawValue) -> serde_json::Result<[Span; 5]> {
    let item: ParkedItem = serde_json::from_str(item.get())?;
    Ok([
        item.id.to_string().into(),
        item.source.into(),
        item.event_type.unwrap_or_else(|| "unreadable".to_owned()).into(),
        item.received_at.to_string().into(),
        item.why.into(),
    ])
}

async fn show(client: &Client, out: &mut Out<'_>, id: i64, is_json: bool, is_raw: bool) -> anyhow::Result<()> {
    let id = id.to_string();
    if is_raw {
        return Ok(out.raw(&client.get(&["v1", "parked", &id, "raw"], &[]).await?.body)?);
    }
    let reply = client.get(&["v1", "parked", &id], &[]).await?;
    if is_json {
        return Ok(out.json_line(&reply.body)?);
    }
    let item: ParkedItem = reply.read()?;
    let received_at = item.received_at.to_string();
    for (what, value) in [
        ("why", Some(&item.why)),
        ("source", Some(&item.source)),
        ("delivery", Some(&item.delivery_id)),
        ("event", item.event_id.as_ref()),
        ("type", item.event_type.as_ref()),
        ("received at", Some(&received_at)),
    ] {
        if let Some(value) = value {
            out.line([Span::faint(format!("{what:<13}")), value.as_str().into()])?;
        }
    }
    for (name, value) in &item.headers {
        out.line([Span::faint(format!("{name}: ")), value.as_str().into()])?;
    }
    out.blank()?;
    let body = STANDARD.decode(&item.body_base64).context("the body is not base64")?;
    for line in String::from_utf8_lossy(&body).lines() {
        out.line([line])?;
    }
    out.blank()?;
    Ok(out.line([Span::faint(format!("keyferry parked release {id}, or: keyferry parked discard {id}"))])?)
}

/// Each for itself: one that cannot be settled does not keep the others back.
async fn settle(client: &Client, out: &mut Out<'_>, ids: &[i64], verb: &str) -> anyhow::Result<()> {
    let mut failed = 0;
    for id in ids {
        match client.post(&["v1", "parked", &id.to_string(), verb]).await {
            Ok(reply) => {
                let settled: Settled = reply.read()?;
                out.line([Span::strong(settled.id.to_string()), format!(" is {}", settled.state).into()])?;
            }
            Err(error) => {
                failed += 1;
                out.notice(&format!("{id}: {error}"))?;
            }
        }
    }
    anyhow::ensure!(failed == 0, "{failed} of {} could not be {verb}d", ids.len());
    Ok(())
}
