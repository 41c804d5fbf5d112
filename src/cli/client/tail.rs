//! `keyferry tail`

use clap::Args as ClapArgs;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::{Client, ClientError};
use super::out::Out;
use super::{sse, words};
use crate::clock::Clock;
use crate::domain::Backoff;
use crate::ops::wire::LedgerLine;

const PAGE: &str = "1000";
/// Waits between attempts to come back to a server that has gone away. A restart is over in a moment.
const BACKOFF: Backoff =
    Backoff { base: SignedDuration::from_millis(250), cap: SignedDuration::from_secs(5), attempts_max: u32::MAX };

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  keyferry tail                       the whole ledger
  keyferry tail --follow              and then what is to come, through restarts of the server
  keyferry tail --from 120 --json     from line 120, for programs
  keyferry tail --json | jq -c 'select(.plan_key == \"booking-1\")'")]
pub struct Args {
    /// The number of the first line to print
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: i64,
    /// Go on with what is to come, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Print JSON lines, as the API gives them
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, client: &Client, clock: &dyn Clock, out: &mut Out<'_>) -> anyhow::Result<()> {
    let mut tail = Tail { after: args.from.saturating_sub(1), is_json: args.json, out };
    if args.follow { tail.follow(client, clock).await } else { tail.read(client).await }
}

#[derive(Deserialize)]
struct Page {
    ledger: Vec<Box<RawValue>>,
}

struct Tail<'o, 'w> {
    /// The last line that was printed.
    after: i64,
    is_json: bool,
    out: &'o mut Out<'w>,
}

impl Tail<'_, '_> {
    /// To the end, and no further.
    async fn read(&mut self, client: &Client) -> anyhow::Result<()> {
        loop {
            let after = self.after.to_string();
            let page: Page = client.get(&["v1", "ledger"], &[("after", &after), ("limit", PAGE)]).await?.read()?;
            if page.ledger.is_empty() {
                return Ok(());
            }
            for line in &page.ledger {
                self.print(line.get())?;
            }
        }
    }

    /// For ever. A server that is not there at first is an error; one that goes away later is waited for.
    async fn follow(&mut self, client: &Client, clock: &dyn Clock) -> anyhow::Result<()> {
        let (mut has_connected, mut failures) = (false, 0);
        loop {
            let before = self.after;
            let ended = self.stream(client, &mut has_connected).await;
            if let Err(error) = ended {
                let may_pass = error.downcast_ref::<ClientError>().is_some_and(ClientError::may_pass);
                if !has_connected || !may_pass {
                    return Err(error);
                }
            }
            failures = if self.after > before { 1 } else { failures + 1 };
            if failures == 1 {
                let next = self.after + 1;
                self.out.notice(&format!("the connection is gone; going on from line {next} when it is back"))?;
            }
            // Few follow by hand, so there is no crowd to spread.
            clock.sleep(BACKOFF.after(failures, 0.5)).await;
        }
    }

    /// One connection's worth of lines.
    async fn stream(&mut self, client: &Client, has_connected: &mut bool) -> anyhow::Result<()> {
        let mut response = client.follow(self.after).await?;
        *has_connected = true;
        let mut reader = sse::Reader::default();
        while let Some(bytes) = client.chunk(&mut response).await? {
            for data in reader.feed(&bytes)? {
                self.print(&data)?;
            }
            self.out.flush()?;
        }
        Ok(())
    }

    fn print(&mut self, data: &str) -> anyhow::Result<()> {
        let line: LedgerLine = serde_json::from_str(data)?;
        // The numbers have no gaps, so these lines were there once.
        if line.seq > self.after.saturating_add(1) {
            self.out.notice(&format!("lines before {} were too old, and are gone", line.seq))?;
        }
        self.after = line.seq;
        if self.is_json {
            self.out.json_line(data.as_bytes())?;
        } else {
            self.out.line(words::line(&line))?;
        }
        Ok(())
    }
}
