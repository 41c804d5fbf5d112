//! `keyferry demo`: the whole story in one process, told as it happens.
//!
//! Nothing in it is played: the sandbox is the other end of real HTTP, the webhooks are signed and verified, the store
//! is a file, and what is printed is read from the ops API as any client would read it.

mod stage;
mod story;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::service::Surroundings;
use stage::Stage;
use story::Story;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the ledger as JSON lines, and a summary as the last line
    #[arg(long)]
    json: bool,
}

/// The whole demo takes a second or two; past this something is wrong, and the ledger says what.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
const PLAN: &str = "booking-1";
const PHONES: [(&str, &str); 2] = [("iPhone", "ios"), ("Android phone", "android")];

pub(super) async fn run(args: Args, colour: bool, surroundings: Surroundings) -> anyhow::Result<ExitCode> {
    let stage = Stage::set(surroundings).await?;
    let mut story = Story::new(args.json, colour, stage.now());
    let told = play(&stage, &mut story).await;
    let summary = stage.summary().await;
    stage.strike().await;
    let summary = summary?;
    story.end(&summary)?;
    io::stdout().flush()?;
    told?;
    let all_issued = summary["issued"] == summary["phones"] && summary["credentials"] == summary["plans"];
    Ok(if all_issued { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(stage: &Stage, story: &mut Story) -> anyhow::Result<()> {
    story.tell("sandbox", &format!("a Seam-compatible sandbox answers at {}", stage.sandbox_url))?;
    story.tell("keyferry", &format!("receiver at {}, ops API at {}", stage.receiver_url, stage.ops_url))?;

    let cast = stage.cast().await?;
    let starts_at = stage.now();
    let ends_at = starts_at + 72.hours();
    story.tell("plan", &format!("{PLAN}: {} may open {} for three days", cast.person, cast.doors.join(" and ")))?;
    let plan = json!({
        "user_identity_id": cast.user_identity_id,
        "acs_user_id": cast.acs_user_id,
        "credential_manager_acs_system_id": cast.credential_manager_acs_system_id,
        "allowed_acs_entrance_ids": cast.acs_entrance_ids,
        "starts_at": millis(starts_at),
        "ends_at": millis(ends_at),
        "visionline_metadata": {"card_format": "rfid48", "override": true},
    });
    stage.put_plan(PLAN, &plan).await?;
    follow(stage, story, "the plan to be taken up", |line| line["event_type"] == "plan.put" && is_end(line)).await?;

    for (name, os) in PHONES {
        story.tell("phone", &format!("{}'s {name} signs in", cast.first_name))?;
        let device_id = stage.sign_in(&cast.user_identity_id, os).await?;
        story.name(&device_id, &format!("{}'s {name}", cast.first_name));
        let is_issued = |line: &Value| line["kind"] == "phone_key.issued" && line["device_id"] == device_id.as_str();
        follow(stage, story, &format!("the key on the {name}"), is_issued).await?;
    }
    // What is still on its way (the webhooks of the second key) belongs to the story as well.
    stage.settle(PATIENCE).await?;
    story.catch_up(&stage.ledger(story.last_seq()).await?)?;
    story.keys(&stage.issuance(PLAN).await?)?;
    Ok(())
}

fn is_end(line: &Value) -> bool {
    matches!(line["kind"].as_str(), Some("event.done" | "event.ignored"))
}

fn millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Tells the ledger's lines until one is `the_one`.
async fn follow(stage: &Stage, story: &mut Story, what: &str, the_one: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let deadline = crate::clock::add(stage.now(), PATIENCE);
    loop {
        let lines = stage.ledger(story.last_seq()).await.context("the ledger cannot be read")?;
        story.catch_up(&lines)?;
        if lines.iter().any(&the_one) {
            return Ok(());
        }
        if let Some(parked) = lines.iter().find(|line| line["kind"] == "event.parked") {
            bail!("an event was parked: {}", parked["why"].as_str().unwrap_or_default());
        }
        if stage.now() > deadline {
            bail!("waited {} s for {what} in vain", PATIENCE.as_secs());
        }
        stage.pause(SignedDuration::from_millis(5)).await;
    }
}
