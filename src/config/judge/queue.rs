//! The section `queue`.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Judge;
use crate::config::{Role, file};
use crate::queue::envelope::Limits;
use crate::queue::rabbitmq;
use crate::queue::seal::Keys;

/// Of a message that kills intake each event has its turn to be the first, before the broker gives up on the message.
const EVENTS_PER_MESSAGE_MAX: usize = 90;

impl Judge<'_> {
    /// `None`: no broker.
    pub(super) fn queue(
        &mut self,
        role: Role,
        file: &file::Queue,
        receiver: &file::Receiver,
    ) -> Option<rabbitmq::Settings> {
        self.at_least("queue.publish_deadline_seconds", file.publish_deadline_seconds, 1);
        self.at_least("queue.in_flight_max", file.in_flight_max, 1);
        self.at_least("queue.events_per_message_max", file.events_per_message_max, 1);
        if file.events_per_message_max > EVENTS_PER_MESSAGE_MAX {
            let what = format!("it must be at most {EVENTS_PER_MESSAGE_MAX}: a message is delivered 100 times at most");
            self.say("queue.events_per_message_max", what);
        }
        self.at_least("queue.prefetch", file.prefetch, 1);
        self.at_least("queue.batch_max", file.batch_max, 1);
        if file.message_bytes_max < receiver.body_bytes_max {
            self.say("queue.message_bytes_max", "it must be at least receiver.body_bytes_max, or webhooks are parked");
        }
        if file.message_bytes_max < file.batch_bytes_max {
            self.say("queue.message_bytes_max", "it must be at least queue.batch_bytes_max, or webhooks are parked");
        }
        let Some(url) = file.amqp_url.clone().filter(|url| !url.expose_secret().is_empty()) else {
            if matches!(role, Role::Serve | Role::Work) {
                let what = "`serve` and `work` meet at RabbitMQ: set KEYFERRY_AMQP_URL, or use `keyferry run`, \
                            which needs no broker";
                self.say("queue.amqp_url", what);
            }
            return None;
        };
        let mut settings = rabbitmq::Settings::new(url);
        settings.prefix.clone_from(&file.prefix);
        settings.publish_deadline = Duration::from_secs(file.publish_deadline_seconds);
        settings.in_flight_max = file.in_flight_max;
        settings.per_message = Limits { events: file.events_per_message_max, bytes: file.batch_bytes_max };
        settings.prefetch = file.prefetch;
        settings.batch_max = file.batch_max;
        settings.body_bytes_max = file.message_bytes_max;
        settings.keys = self.keys(file.key.as_ref());
        match settings.check() {
            Ok(()) => {}
            Err(error @ rabbitmq::AddressError::Prefix) => self.say("queue.prefix", error),
            Err(error) => self.say("queue.amqp_url", error),
        }
        Some(settings)
    }
    fn keys(&mut self, text: Option<&SecretString>) -> Option<Arc<Keys>> {
        let text = text.filter(|text| !text.expose_secret().is_empty())?;
        Keys::parse(text).map(Arc::new).map_err(|error| self.say("queue.key", error)).ok()
    }

    pub(super) fn management_url(&mut self, url: Option<SecretString>) -> Option<SecretString> {
        let url = url.filter(|url| !url.expose_secret().is_empty())?;
        // Not the error's own words: there is a password in the URL.
        let is_good = Url::parse(url.expose_secret()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_good {
            self.say("queue.management_url", "it is not a URL of the form http://user:password@host:15672");
        }
        is_good.then_some(url)
    }
}
