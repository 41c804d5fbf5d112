//! What a sandbox remembers: the world, the messages under way, and the file they outlive a restart in.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deliver::Outbox;
use super::world::World;
use super::world::rules::Rules;

/// The form of the state file. Another form is refused rather than misread.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) world: World,
    pub(super) outbox: Outbox,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state file cannot be read")]
    Read(#[source] io::Error),
    #[error("the state file is not one of this sandbox")]
    Understand(#[source] serde_json::Error),
    #[error("the state file is of version {0}, and this sandbox knows version {VERSION}")]
    Version(u32),
    #[error("the state file cannot be written")]
    Write(#[source] io::Error),
}

impl State {
    pub(super) fn new(seed: u64, rules: Rules, now: Timestamp) -> Self {
        Self { version: VERSION, world: World::new(seed, rules, now), outbox: Outbox::new(seed) }
    }

    /// Reads the file, if there is one yet. What was under way when it was written is due again.
    pub(super) fn load(path: &Path, speed: f64, now: Timestamp) -> Result<Option<Self>, StateError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::Read(error)),
        };
        let mut state: Self = serde_json::from_slice(&bytes).map_err(StateError::Understand)?;
        if state.version != VERSION {
            return Err(StateError::Version(state.version));
        }
        state.world.rules.speed = speed;
        state.outbox.resume(now);
        Ok(Some(state))
    }

    /// The file's bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Every map in the state has string keys or is written as a list, so this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Replaces the file as a whole: a reader sees the old state or the new one.
pub(super) async fn save(path: &Path, bytes: Vec<u8>) -> Result<(), StateError> {
    let beside = path.with_extension("tmp");
    tokio::fs::write(&beside, bytes).await.map_err(StateError::Write)?;
    tokio::fs::rename(&beside, path).await.map_err(StateError::Write)
}
