//! How a process ends: SIGTERM or Ctrl-C begins a drain, a second one cuts it short.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The end, in two steps.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing new; finish what is in hand.
    pub soft: CancellationToken,
    /// Stop now, whatever is in hand.
    pub hard: CancellationToken,
}

/// Listens for SIGTERM and SIGINT from now on.
pub fn on_signals() -> io::Result<Shutdown> {
    let shutdown = Shutdown::default();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ours = shutdown.clone();
    tokio::spawn(async move {
        for (token, message) in [
            (&ours.soft, "shutting down: finishing what is in hand; once more to stop at once"),
            (&ours.hard, "stopping at once; what was in hand will be taken up again"),
        ] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("{message}");
            token.cancel();
        }
    });
    Ok(shutdown)
}
