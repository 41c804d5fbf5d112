//! `keyferry sandbox`: the Seam-compatible sandbox alone, to be played with.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::http::{Limits, serve};
use crate::lifecycle;
use crate::sandbox::{Sandbox, Settings};

/// Run a local server that Seam's official SDKs take for Seam.
///
/// It opens with a hotel (Visionline), apartments (Latch), an office (HID Origo), a co-working house (Salto KS) and a
/// clinic (Salto Space), with people and doors, delivers signed webhooks, and has a control room under /_sandbox to see
/// everything and to order what shall go wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9400", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// The API key that callers must present; Seam's SDKs want it to begin with seam_
    #[arg(long, value_name = "KEY", default_value_t = Settings::default().api_key, value_parser = api_key)]
    api_key: String,

    /// The same seed gives the same world with the same ids
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How much faster than life delays and webhook retries run
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = speed)]
    speed: f64,

    /// Keep the world and the deliveries under way in this file, over restarts
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

fn api_key(text: &str) -> Result<String, String> {
    if text.starts_with("seam_") { Ok(text.to_owned()) } else { Err("an API key begins with seam_".to_owned()) }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "a number".to_owned())?;
    if speed.is_finite() && speed > 0.0 { Ok(speed) } else { Err("a positive number".to_owned()) }
}

/// Serves until a signal says otherwise.
pub(super) async fn run(args: Args, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let shutdown = lifecycle::on_signals().context("signals cannot be listened for")?;
    let settings =
        Settings { api_key: args.api_key.clone(), seed: args.seed, speed: args.speed, state: args.state.clone() };
    let sandbox = Sandbox::new(settings, clock).context("the sandbox cannot open")?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let endpoint = format!("http://{}", listener.local_addr().context("the listener has no address")?);
    let welcome = welcome(&endpoint, &args.api_key, &sandbox);
    std::io::stdout().write_all(welcome.as_bytes()).context("cannot write to the standard output")?;

    let driver = tokio::spawn({
        let (sandbox, end) = (sandbox.clone(), shutdown.soft.clone());
        async move { sandbox.run(end).await }
    });
    tokio::select! {
        _ = serve(listener, sandbox.router(), Limits::default(), shutdown.soft.clone()) => {}
        () = shutdown.hard.cancelled() => {}
    }
    driver.await.context("the sandbox's driver ended badly")
}

/// What to paste, what there is, and three calls to try.
fn welcome(endpoint: &str, api_key: &str, sandbox: &Sandbox) -> String {
    let overview = sandbox.overview();
    let mut text = format!("export SEAM_ENDPOINT={endpoint}\nexport SEAM_API_KEY={api_key}\n\n");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Access systems:");
    for system in &overview.systems {
        let _ = writeln!(text, "  {:<24} {:<38} {}", system.name, system.kind, system.id);
        if !system.entrances.is_empty() {
            let _ = writeln!(text, "  {:<24} {}", "", system.entrances.join(", "));
        }
    }
    let _ = writeln!(text, "\nPeople:");
    for person in &overview.people {
        let _ = writeln!(text, "  {:<24} {:<38} {}", person.name, person.key, person.id);
    }
    let call = |path: &str, body: &str| {
        format!("  curl -s $SEAM_ENDPOINT{path} -H \"Authorization: Bearer $SEAM_API_KEY\" --json '{body}'\n")
    };
    text.push_str("\nTry:\n");
    if let Some(person) = overview.people.first() {
        let body = format!("{{\"user_identity_key\": \"{}\"}}", person.key);
        text.push_str(&call("/user_identities/get", &body));
        let body = format!("{{\"user_identity_id\": \"{}\"}}", person.id);
        text.push_str(&call("/phones/simulate/create_sandbox_phone", &body));
    }
    let _ = writeln!(text, "  curl -s $SEAM_ENDPOINT/_sandbox/world");
    text
}
