//! Names of things, and the seeded chance that makes them.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Any of the ids below.
pub(crate) trait Id: From<Uuid> {}

/// Each kind of id is a type of its own, so that a phone cannot be looked up by a credential's id.
macro_rules! ids {
    ($($name:ident),* $(,)?) => {$(
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub(crate) struct $name(Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl Id for $name {}

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(out)
            }
        }
    )*};
}

ids!(
    AccessGrantId,
    AccessMethodId,
    AcsAccessGroupId,
    AcsCredentialId,
    AcsEntranceId,
    AcsSystemId,
    AcsUserId,
    ClientSessionId,
    ConnectedAccountId,
    DeviceId,
    EnrollmentAutomationId,
    EventId,
    InstantKeyId,
    UserIdentityId,
    WebhookId,
    WorkspaceId,
);

/// The n-th draw of a seed. Being two numbers, it is written to the state file and goes on where it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chance {
    seed: u64,
    drawn: u64,
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn id<Id: From<Uuid>>(&mut self) -> Id {
        Id::from(uuid::Builder::from_random_bytes(self.bytes()).into_uuid())
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut draw = ChaCha8Rng::seed_from_u64(self.seed);
        draw.set_stream(self.drawn);
        self.drawn += 1;
        let mut bytes = [0; N];
        draw.fill_bytes(&mut bytes);
        bytes
    }

    /// `N` letters and digits, as tokens have them.
    pub(crate) fn letters<const N: usize>(&mut self) -> String {
        self.bytes::<N>().iter().map(|byte| char::from(ALPHANUMERIC[usize::from(*byte) % ALPHANUMERIC.len()])).collect()
    }

    /// `N` digits, as PIN codes have them.
    pub(crate) fn digits<const N: usize>(&mut self) -> String {
        self.bytes::<N>().iter().map(|byte| char::from(b'0' + byte % 10)).collect()
    }

    /// `2 * N` hexadecimal digits, as card numbers have them.
    pub(crate) fn hex<const N: usize>(&mut self) -> String {
        use std::fmt::Write as _;
        self.bytes::<N>().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_draws_and_two_draws_differ() {
        let (mut one, mut same, mut other) = (Chance::new(1), Chance::new(1), Chance::new(2));
        let first: DeviceId = one.id();
        assert_eq!(first, same.id());
        assert_ne!(first, one.id());
        assert_ne!(first, other.id());
    }
}
