//! The commands that ask a running Keyferry: clients of its ops API, and of nothing else.

mod api;
mod out;
mod parked;
mod plan;
mod show;
mod sse;
mod status;
mod tail;
mod words;

use std::io;

use clap::Subcommand;

use crate::clock::Clock;

pub use api::{ClientError, Connection};
pub use out::{Out, Span};

/// The URL of the ops API where nobody says another.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8081";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put, show, list and cancel issuance plans
    ///
    /// A plan holds the details of a credential for one ACS user and stay. It is made before any phone exists; when a
    /// phone of the person is registered, the credential is created and the phone gets its key.
    #[command(subcommand)]
    Plan(plan::Action),
    /// Show the state at a glance: what waits, what is parked, what stands where
    Status(status::Args),
    /// Show one plan's story: its credential, the phones that have its key, what happened last
    Show(show::Args),
    /// Print the ledger: one line for every change of state
    Tail(tail::Args),
    /// See to what was put aside for a person
    ///
    /// Parked is what no repetition mends: an event whose handling failed for good, or a genuine delivery that could
    /// not be read. Nothing is lost; it waits here, with its bytes, until you release it or discard it.
    #[command(subcommand)]
    Parked(parked::Action),
}

/// Runs a command against the API at `connection`. A reader that goes away (`| head`) is a good end.
pub async fn run(command: Command, connection: Connection, clock: &dyn Clock, out: &mut Out<'_>) -> anyhow::Result<()> {
    let client = api::Client::new(connection)?;
    let done = match command {
        Command::Plan(action) => plan::run(action, &client, out).await,
        Command::Status(args) => status::run(&args, &client, out).await,
        Command::Show(args) => show::run(&args, &client, out).await,
        Command::Tail(args) => tail::run(&args, &client, clock, out).await,
        Command::Parked(action) => parked::run(action, &client, out).await,
    };
    match done.and_then(|()| Ok(out.flush()?)) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        done => done,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
