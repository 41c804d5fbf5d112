//! How long things take, and what was decided where Seam's documents are silent.
//!
//! Each decision can be turned in a running sandbox (`POST /_sandbox/rules`), because a wrong guess here would teach a
//! client something untrue.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The switches and the delays. Delays are in milliseconds of real life; [`Rules::pace`] turns them into ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rules {
    /// Which credentials of a multi-phone sync family emit `acs_credential.issued`. Seam documents the event for cards
    /// only; telling of both is what no client can miss.
    pub(crate) issued_events: IssuedEvents,
    /// Whether a Visionline `override` is refused to a person without an active endpoint. Seam's guide looks for one
    /// before it offers the option, but Seam also has one make a multi-phone sync credential before there is any
    /// phone, and shows it with `override`. Off, because refusing what Seam takes would hurt more than the reverse.
    pub(crate) override_needs_active_endpoint: bool,
    /// Whether phones register with credential managers by themselves (since 2025) or only for people with an
    /// enrollment automation (before).
    pub(crate) automatic_enrollment: bool,
    /// How many of the next phones fail to activate.
    pub(crate) activations_to_fail: u32,
    /// From the making of a phone until it has answered its invitation.
    pub(crate) phone_acknowledged_ms: u32,
    /// From there until the endpoint is being set up.
    pub(crate) phone_activating_ms: u32,
    /// From there until the endpoint is active, or has failed.
    pub(crate) phone_active_ms: u32,
    /// From the making of a credential until it is on its phone, or in its access system.
    pub(crate) credential_issued_ms: u32,
    /// How long a deleted credential is listed with the warning `being_deleted`. 0: it is gone at once.
    pub(crate) credential_deletion_ms: u32,
    /// From the making of an ACS user until the access system has it.
    pub(crate) user_created_ms: u32,
    /// From the making of an access grant until its access methods are there.
    pub(crate) grant_provisioned_ms: u32,
    /// How much faster than life everything runs.
    pub(crate) speed: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IssuedEvents {
    ParentAndChildren,
    ChildrenOnly,
    ParentOnly,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            issued_events: IssuedEvents::ParentAndChildren,
            override_needs_active_endpoint: false,
            automatic_enrollment: true,
            activations_to_fail: 0,
            phone_acknowledged_ms: 1_000,
            phone_activating_ms: 1_000,
            phone_active_ms: 2_000,
            credential_issued_ms: 5_000,
            credential_deletion_ms: 0,
            user_created_ms: 1_000,
            grant_provisioned_ms: 1_000,
            speed: 1.0,
        }
    }
}

impl Rules {
    /// A delay of real life, at our speed.
    pub(crate) fn pace(&self, millis: u32) -> SignedDuration {
        scaled(SignedDuration::from_millis(millis.into()), self.speed)
    }
}

/// `duration` of real life at `speed`. A speed that is no positive number counts as 1.
pub(crate) fn scaled(duration: SignedDuration, speed: f64) -> SignedDuration {
    let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
    SignedDuration::try_from_secs_f64(duration.as_secs_f64() / speed).unwrap_or(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_divides_a_delay() {
        let rules = Rules { speed: 1000.0, ..Rules::default() };
        assert_eq!(rules.pace(5_000), SignedDuration::from_millis(5));
        assert_eq!(scaled(SignedDuration::from_secs(5), 0.0), SignedDuration::from_secs(5));
    }
}
