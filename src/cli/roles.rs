//! `run`, `serve`, `work`: bind, start, end. And `migrate`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

use super::{Environment, ServerArgs, StoreArgs, send};
use crate::clock::{SystemClock, SystemEntropy};
use crate::config::{self, Config, Flags, Reload, Reloaded, Role};
use crate::lifecycle::{self, Hangups, Shutdown};
use crate::service::{self, Listeners, Surroundings};
use crate::store;

pub(super) async fn run(
    role: Role,
    args: ServerArgs,
    environment: &Environment,
    surroundings: Surroundings,
) -> anyhow::Result<ExitCode> {
    let shutdown = lifecycle::on_signals().context("signals cannot be listened for")?;
    // Listened for before the first reading, so that no change after it goes unseen.
    let hangups = lifecycle::on_hangups().context("signals cannot be listened for")?;
    let environment = environment.clone();
    let read = move || -> anyhow::Result<Config> {
        Ok(config::load(role, &args.flags(), &environment, args.store.file()?.as_deref())?)
    };
    let config = read()?;
    let reload = Reload::of(&config, read);
    let receiver = if role.receives() {
        Some(bind(config.listen, "the receiver", "--listen or KEYFERRY_LISTEN").await?)
    } else {
        None
    };
    let ops = bind(config.ops_listen, "the ops API", "--ops-listen or KEYFERRY_OPS_LISTEN").await?;
    announce(role, &config, receiver.as_ref(), &ops)?;
    let roster = reload.roster();
    tokio::spawn(reload_on_hangups(reload, hangups, shutdown.clone()));
    let left = service::run(role, config, roster, Listeners { receiver, ops }, surroundings, &shutdown).await?;
    if left > 0 {
        tracing::warn!(left, "ended with work in hand; it will be taken up again");
        return Ok(ExitCode::FAILURE);
    }
    tracing::info!("ended with nothing in hand");
    Ok(ExitCode::SUCCESS)
}

const RELOADED: &str = "keyferry_config_last_reload_successful";

/// Reads the configuration again at each SIGHUP.
async fn reload_on_hangups<F>(mut reload: Reload<F>, mut hangups: Hangups, shutdown: Shutdown)
where
    F: FnMut() -> anyhow::Result<Config>,
{
    metrics::describe_gauge!(
        RELOADED,
        "Whether the configuration that was read last counts: 0 after one with mistakes"
    );
    metrics::gauge!(RELOADED).set(1.0);
    while hangups.next().await {
        let reloaded = tokio::task::block_in_place(|| reload.step());
        metrics::gauge!(RELOADED).set(if reloaded.is_ok() { 1.0 } else { 0.0 });
        match reloaded {
            Ok(Reloaded { changes, left }) => {
                let changes = if changes.is_empty() { "no source has changed".to_owned() } else { changes.join("; ") };
                tracing::info!("the configuration was read again: {changes}");
                if !left.is_empty() {
                    let settings = left.join(", ");
                    tracing::warn!(settings, "settings have changed that count from the next start on, not before");
                }
            }
            Err(error) => {
                let why = error.to_string().replace(":\n  ", ": ").replace("\n  ", "; ");
                tracing::error!(why, "the configuration was read again and is refused: everything stays as it was");
            }
        }
    }
    tracing::info!("the terminal that this was started from has hung up");
    shutdown.soft.cancel();
}

async fn bind(address: SocketAddr, what: &str, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{what} cannot listen on {address}; set {setting} to a free address"))
}

fn announce(role: Role, config: &Config, receiver: Option<&TcpListener>, ops: &TcpListener) -> anyhow::Result<()> {
    if let Some(receiver) = receiver {
        let address = receiver.local_addr()?;
        for source in config.roster.iter() {
            tracing::info!("takes {} webhooks at http://{address}/webhooks/{}", source.kind().as_str(), source.name());
        }
    }
    tracing::info!("answers operators at http://{}", ops.local_addr()?);
    if let Some(provider) = config.provider.as_ref().filter(|_| role.works()) {
        tracing::info!("creates credentials at {}", provider.endpoint.host());
    }
    if role == Role::Work && config.store_url.expose_secret().starts_with("sqlite:") {
        tracing::warn!(
            "keeps its store in a file of its own; several workers must share one PostgreSQL: set KEYFERRY_STORE_URL"
        );
    }
    if config.rabbitmq.is_some() {
        tracing::info!("carries events over RabbitMQ");
    } else {
        tracing::info!("feeds the inbox directly; no broker is configured");
    }
    Ok(())
}

pub(super) async fn migrate(args: StoreArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let flags = Flags { store_url: args.store_url.clone(), ..Flags::default() };
    let config = config::load(Role::Migrate, &flags, environment, args.file()?.as_deref())?;
    let state = store::migrate(config.store_url.expose_secret()).await.context("the store cannot be migrated")?;
    if state.before == state.after {
        say(&format!("the store is at version {} already", state.after));
    } else {
        say(&format!("the store went from version {} to {}", state.before, state.after));
    }
    Ok(ExitCode::SUCCESS)
}

/// `send`: the source and the receiver's address as the configuration has them.
pub(super) async fn send(
    args: send::Args,
    config: Option<&Path>,
    environment: &Environment,
) -> anyhow::Result<ExitCode> {
    let senders = config::senders(environment, super::read_file(config)?.as_deref())?;
    let source = senders.sources.into_iter().find(|source| **source.name() == *args.source);
    send::run(args, source, senders.receiver_url, &SystemClock, &SystemEntropy).await?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn say(text: &str) {
    println!("{text}");
}
