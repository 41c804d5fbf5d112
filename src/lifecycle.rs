//! How a process ends: SIGTERM or Ctrl-C begins a drain, a second one cuts it short. And how it is asked to read its
//! configuration again: SIGHUP.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
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

/// SIGHUP, which asks a server to read its configuration again.
pub struct Hangups {
    signal: Signal,
    had_terminal: bool,
}

/// Listens for SIGHUP from now on: it ends this process no more.
pub fn on_hangups() -> io::Result<Hangups> {
    Ok(Hangups { signal: signal(SignalKind::hangup())?, had_terminal: io::stdin().is_terminal() })
}

impl Hangups {
    /// Resolves at the next SIGHUP; those that come before they are waited for count as one.
    ///
    /// `false`: it was its terminal that hung up, so whoever started it is gone and it should end as well.
    pub async fn next(&mut self) -> bool {
        // There is always a next signal.
        let _ = self.signal.recv().await;
        let has_lost_terminal = self.had_terminal && !io::stdin().is_terminal();
        !has_lost_terminal
    }
}
