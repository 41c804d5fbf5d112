//! `keyferry plan put|get|list|delete`

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::Client;
use super::out::{Out, Span};
use super::words;

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Put a plan under a key of your choice, e.g. a reservation number
    ///
    /// The same again changes nothing. Once the credential exists only `ends_at` can still be moved: that is all that
    /// Seam lets be changed.
    #[command(after_help = "\
Examples:
  keyferry plan put booking-1 plan.json
  keyferry plan put booking-1 - <<'END'
  {\"user_identity_id\": \"…\", \"acs_user_id\": \"…\",
   \"starts_at\": \"2026-03-01T14:00:00Z\", \"ends_at\": \"2026-03-04T10:00:00Z\",
   \"allowed_acs_entrance_ids\": [\"…\"]}
  END")]
    Put {
        /// The plan's key
        key: String,
        /// The plan as JSON; `-` reads standard input
        file: PathBuf,
        /// Print the API's own JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a plan as JSON
    #[command(after_help = "Example:\n  keyferry plan get booking-1 | jq .spec > plan.json")]
    Get {
        /// The plan's key
        key: String,
    },
    /// List all plans, cancelled ones too
    List {
        /// Print JSON lines, as the API gives them
        #[arg(long)]
        json: bool,
    },
    /// Cancel a plan: its credential is deleted at the provider, its keys leave the phones
    Delete {
        /// The plan's key
        key: String,
    },
}

/// As much of a plan as is shown. The rest may be newer than this client.
#[derive(Deserialize)]
struct Shown {
    plan_key: String,
    status: String,
    deleted_at: Option<Timestamp>,
    spec: Spec,
    unverified: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    user_identity_id: String,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Page {
    plans: Vec<Box<RawValue>>,
    next: Option<String>,
}

pub(super) async fn run(action: Action, client: &Client, out: &mut Out<'_>) -> anyhow::Result<()> {
    match action {
        Action::Put { key, file, json } => put(client, out, &key, &file, json).await,
        Action::Get { key } => {
            let reply = client.get(&["v1", "plans", &key], &[]).await?;
            Ok(out.json_line(&reply.body)?)
        }
        Action::List { json } => list(client, out, json).await,
        Action::Delete { key } => delete(client, out, &key).await,
    }
}

async fn put(client: &Client, out: &mut Out<'_>, key: &str, file: &Path, is_json: bool) -> anyhow::Result<()> {
    let reply = client.put(&["v1", "plans", key], read(file).await?).await?;
    if is_json {
        return Ok(out.json_line(&reply.body)?);
    }
    let plan: Shown = reply.read()?;
    let verb = if reply.status == StatusCode::CREATED { " is a new plan, " } else { " is up to date, " };
    out.line([Span::strong(&plan.plan_key), verb.into(), words::status(&plan.status)])?;
    if let Some(why) = plan.unverified {
        out.line([Span::pending("Its ids are not checked: "), why.into()])?;
    }
    Ok(out.line([Span::faint(format!("What becomes of it: keyferry show {key}"))])?)
}

async fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut body = Vec::new();
        io::stdin().lock().read_to_end(&mut body).context("standard input cannot be read")?;
        return Ok(body);
    }
    tokio::fs::read(file).await.with_context(|| format!("{} cannot be read", file.display()))
}

async fn delete(client: &Client, out: &mut Out<'_>, key: &str) -> anyhow::Result<()> {
    let plan: Shown = client.delete(&["v1", "plans", key]).await?.read()?;
    let next = match plan.status.as_str() {
        "revoked" => " is cancelled",
        _ => " is being cancelled: a worker deletes its credential at the provider, and then it is revoked",
    };
    Ok(out.line([Span::strong(&plan.plan_key), next.into()])?)
}

async fn list(client: &Client, out: &mut Out<'_>, is_json: bool) -> anyhow::Result<()> {
    let mut cursor: Option<String> = None;
    loop {
        let page: Page = client.page(&["v1", "plans"], cursor.as_deref()).await?;
        if is_json {
            for plan in &page.plans {
                out.json_line(plan.get().as_bytes())?;
            }
        } else if page.plans.is_empty() && cursor.is_none() {
            out.line(["There is no plan yet. Put one with: keyferry plan put KEY FILE"])?;
        } else {
            print(out, &page.plans)?;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn print(out: &mut Out<'_>, plans: &[Box<RawValue>]) -> anyhow::Result<()> {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string()).into();
    let mut rows: Vec<[Span; 5]> = Vec::with_capacity(plans.len());
    for plan in plans {
        let plan: Shown = serde_json::from_str(plan.get())?;
        let status = match plan.deleted_at {
            Some(_) if plan.status != "revoked" => Span::pending(format!("{}, cancelled", plan.status)),
            _ => words::status(&plan.status),
        };
        let (starts, ends) = (time(plan.spec.starts_at), time(plan.spec.ends_at));
        rows.push([plan.plan_key.into(), status, plan.spec.user_identity_id.into(), starts, ends]);
    }
    Ok(out.table(["PLAN", "STATUS", "PERSON", "STARTS", "ENDS"], &rows)?)
}
