//! A look at the broker for `keyferry doctor`: it makes nothing, and what it publishes no queue takes.

use std::time::Duration;

use jiff::SignedDuration;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation, Connection};

use super::line::Line;
use super::supervisor::{Fault, signed};
use super::topology::{self, Names, Standing};
use super::{Settings, address};
use crate::clock::{Clock, Entropy};

/// A confirm takes milliseconds; a broker that has not sent one by then takes no publishes.
const PROBE_TIMEOUT: SignedDuration = SignedDuration::from_secs(3);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Debug)]
pub struct Inspection {
    /// Each exchange and queue, and how it stands.
    pub topology: Vec<(ShortString, Standing)>,
    /// Why the broker takes no publishes, if so.
    pub stuck: Option<String>,
}

/// Connects as `settings` say, and looks.
pub async fn inspect(settings: &Settings, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Inspection, Fault> {
    let uri = address::parse(&settings.url, settings.heartbeat)?;
    let names = Names::under(&settings.prefix)?;
    let opening = Box::pin(Line::open(uri, "keyferry doctor"));
    let line = tokio::select! {
        line = opening => line?,
        () = clock.sleep(signed(settings.connect_timeout)) => {
            return Err(Fault::Timeout { what: "connecting", limit: settings.connect_timeout });
        }
    };
    let topology = topology::inspect(&line.connection, &names, &settings.queue).await?;
    let stuck = tokio::select! {
        answer = publish_to_nobody(&line.connection, entropy) => answer?,
        () = clock.sleep(PROBE_TIMEOUT) => Some(if line.connection.status().blocked() {
            "the broker has blocked publishers: a memory or disk alarm".to_owned()
        } else {
            format!("a publish was not confirmed within {PROBE_TIMEOUT:#}")
        }),
    };
    tokio::select! {
        _ = line.connection.close(200, "done".into()) => {}
        () = clock.sleep(signed(CLOSE_TIMEOUT)) => {}
    }
    Ok(Inspection { topology, stuck })
}

/// Confirmed publishes to a queue that does not exist: they come back, and nothing is left anywhere. Two, because a broker
/// with an alarm takes one from each connection and blocks it then.
async fn publish_to_nobody(connection: &Connection, entropy: &dyn Entropy) -> Result<Option<String>, Fault> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let nobody = format!("keyferry.doctor.{:016x}", entropy.next_u64());
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    for _ in 0..2 {
        let (routing_key, properties) = (nobody.as_str().into(), BasicProperties::default());
        match channel.basic_publish("".into(), routing_key, options, b"", properties).await?.await? {
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {}
            other => return Ok(Some(format!("a publish to nobody did not come back: {other:?}"))),
        }
    }
    Ok(None)
}
