//! The section `provider`.

use std::time::Duration;

use super::Judge;
use crate::config::{Role, file};
use crate::provider;

impl Judge<'_> {
    pub(super) fn provider(&mut self, role: Role, file: &file::Provider) -> Option<provider::Settings> {
        if !role.works() {
            return None;
        }
        let endpoint = provider::Endpoint::parse(&file.endpoint);
        if let Err(error) = &endpoint {
            self.say("provider.endpoint", error);
        }
        let key = match &file.api_key {
            None => {
                self.say(
                    "provider.api_key",
                    "no API key is set: set SEAM_API_KEY, or start `keyferry sandbox` for one",
                );
                None
            }
            Some(key) => provider::ApiKey::new(key.clone()).map_err(|error| self.say("provider.api_key", error)).ok(),
        };
        self.at_least("provider.deadline_seconds", file.deadline_seconds, 1);
        self.at_least("provider.retry_after_seconds_max", file.retry_after_seconds_max, 1);
        let mut settings = provider::Settings::new(endpoint.ok()?, key?);
        settings.deadline = Duration::from_secs(file.deadline_seconds);
        settings.retry_after_max = Duration::from_secs(file.retry_after_seconds_max);
        settings.connect_timeout = settings.connect_timeout.min(settings.deadline / 2);
        Some(settings)
    }
}
