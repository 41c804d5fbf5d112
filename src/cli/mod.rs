//! The commands: one file each, wiring and nothing else. Rules are in the parts that they wire.

mod check;
pub mod client;
mod demo;
mod doctor;
mod explain;
mod roles;
mod sandbox;
pub mod send;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use tokio::runtime::Runtime;

use crate::clock::{SystemClock, SystemEntropy};
use crate::config::{Flags, Problems, Role};
use crate::service::Surroundings;
use crate::telemetry::{self, LogFormat};

/// Variables as the process was given them.
pub type Environment = BTreeMap<String, String>;

/// Carries “this person's phone is registered” to “the door opens for it”.
///
/// The webhook endpoint, the queue and the workers of a mobile-key product built on Seam: signed webhooks come in, Seam
/// issues one credential per stay to every phone of the person, and a ledger says at any moment which phone has which
/// key, and why not.
#[derive(Debug, Parser)]
#[command(name = "keyferry", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  keyferry demo                     the whole story in one process, nothing to set up
  keyferry sandbox                  a Seam-compatible server on this machine
  keyferry run                      receiver, worker and ops API in one process

Exit codes: 0 done, 1 failed, 2 usage, 64 bad configuration.
Logs go to standard error; KEYFERRY_LOG=debug says more, KEYFERRY_LOG_FORMAT=json is for machines.";

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole story in one process: a plan, two phones, a key on each
    Demo(demo::Args),
    /// Receiver, worker and ops API in one process
    Run(ServerArgs),
    /// The receiver alone: many of these, behind a load balancer, on RabbitMQ
    Serve(ServerArgs),
    /// Intake, worker and ops API alone: many of these, on RabbitMQ and PostgreSQL
    Work(ServerArgs),
    /// A Seam-compatible server on this machine, for trying and testing
    Sandbox(sandbox::Args),
    /// Sign a body as a sender would, and post it to the receiver
    Send {
        #[command(flatten)]
        send: send::Args,
        /// Configuration file (TOML) that names the source
        #[arg(long, value_name = "FILE", env = "KEYFERRY_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Say why a webhook that was caught is not taken, and what would become of it; nothing is sent
    ///
    /// Ends with 0 if the receiver would take it, and with 1 if not.
    Explain(explain::Args),
    #[command(flatten)]
    Client(client::Command),
    /// Look at configuration, store, broker, provider, clocks and ports; say what is wrong and what to do
    ///
    /// Nothing is changed anywhere. Ends with 1 if there is a problem; warnings alone end with 0.
    Doctor(doctor::Args),
    /// Bring the store's schema to the version of this program
    Migrate(StoreArgs),
    /// Check the configuration, or print its schema
    #[command(subcommand)]
    Config(check::Command),
}

/// Where the configuration comes from. Flags go over the environment, and that over the file.
#[derive(Debug, Args)]
struct StoreArgs {
    /// Configuration file (TOML); `keyferry config schema` says what may stand in it
    #[arg(long, value_name = "FILE", env = "KEYFERRY_CONFIG")]
    config: Option<PathBuf>,
    #[arg(
        long,
        value_name = "URL",
        help = "The store: sqlite:PATH or postgres://… [env: KEYFERRY_STORE_URL] [default: sqlite:keyferry.db]"
    )]
    store_url: Option<String>,
}

impl StoreArgs {
    /// The text of the configuration file, if one is named.
    fn file(&self) -> anyhow::Result<Option<String>> {
        read_file(self.config.as_deref())
    }
}

/// What a server may be told besides.
#[derive(Debug, Args)]
struct ServerArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[arg(
        long,
        value_name = "ADDR",
        help = "Address and port of the receiver [env: KEYFERRY_LISTEN] [default: 127.0.0.1:8080]"
    )]
    listen: Option<String>,
    #[arg(
        long,
        value_name = "ADDR",
        help = "Address and port of the ops API, health and metrics [env: KEYFERRY_OPS_LISTEN] [default: 127.0.0.1:8081]"
    )]
    ops_listen: Option<String>,
    #[arg(
        long,
        value_name = "URL",
        help = "RabbitMQ: amqp://… or amqps://…; without it the inbox is fed directly [env: KEYFERRY_AMQP_URL]"
    )]
    amqp_url: Option<String>,
}

impl ServerArgs {
    fn flags(&self) -> Flags {
        Flags {
            listen: self.listen.clone(),
            ops_listen: self.ops_listen.clone(),
            store_url: self.store.store_url.clone(),
            amqp_url: self.amqp_url.clone(),
        }
    }
}

fn read_file(path: Option<&std::path::Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(Problems::of_one(&path.display().to_string(), &format!("it cannot be read: {error}")).into()),
    }
}

/// Parses the arguments, runs the command, and says how it went.
#[must_use]
pub fn main(environment: &Environment) -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command, environment) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            let is_configuration = error.downcast_ref::<Problems>().is_some();
            ExitCode::from(if is_configuration { 64 } else { 1 })
        }
    }
}

fn run(command: Command, environment: &Environment) -> anyhow::Result<ExitCode> {
    log(&command, environment);
    // Two TLS users with one provider: chosen here, once.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = Runtime::new().context("the async runtime cannot start")?;
    runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args, wants_colour(environment), surroundings()?).await,
            Command::Run(args) => roles::run(Role::Run, args, environment, surroundings()?).await,
            Command::Serve(args) => roles::run(Role::Serve, args, environment, surroundings()?).await,
            Command::Work(args) => roles::run(Role::Work, args, environment, surroundings()?).await,
            Command::Sandbox(args) => sandbox::run(args, Arc::new(SystemClock)).await.map(|()| ExitCode::SUCCESS),
            Command::Send { send, config } => roles::send(send, config.as_deref(), environment).await,
            Command::Explain(args) => explain::run(&args, environment, &SystemClock),
            Command::Client(command) => ask(command, environment).await,
            Command::Doctor(args) => doctor::run(args, environment).await,
            Command::Migrate(args) => roles::migrate(args, environment).await,
            Command::Config(command) => check::run(command, environment),
        }
    })
}

/// A client's command, against the ops API that the environment names.
async fn ask(command: client::Command, environment: &Environment) -> anyhow::Result<ExitCode> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let connection = client::Connection {
        url: get("KEYFERRY_OPS_URL").map_or_else(|| client::DEFAULT_URL.to_owned(), Clone::clone),
        token: get("KEYFERRY_OPS_TOKEN").map(|token| SecretString::from(token.as_str())),
    };
    let (mut out, mut notices) = (std::io::stdout(), std::io::stderr());
    let mut out = client::Out::new(&mut out, &mut notices, wants_colour(environment));
    client::run(command, connection, &SystemClock, &mut out).await?;
    Ok(ExitCode::SUCCESS)
}

/// Colour is for terminals, and for people who have not asked for none (<https://no-color.org>).
fn wants_colour(environment: &Environment) -> bool {
    std::io::stdout().is_terminal() && environment.get("NO_COLOR").is_none_or(String::is_empty)
}

fn log(command: &Command, environment: &Environment) {
    let is_server = matches!(command, Command::Run(_) | Command::Serve(_) | Command::Work(_) | Command::Sandbox(_));
    let default = match command {
        _ if is_server => "info",
        // What it finds it says itself.
        Command::Doctor(_) => "off",
        _ => "warn",
    };
    let get = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let filter = get("KEYFERRY_LOG").or_else(|| get("RUST_LOG")).unwrap_or(default);
    let format = if get("KEYFERRY_LOG_FORMAT") == Some("json") { LogFormat::Json } else { LogFormat::Text };
    // Fails only where a subscriber is set already, which then does the work.
    let _ = telemetry::log(filter, format);
}

fn surroundings() -> anyhow::Result<Surroundings> {
    let metrics = telemetry::metrics().context("the metrics recorder cannot be installed")?;
    Ok(Surroundings { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), metrics })
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
fn report(error: &anyhow::Error) {
    let mut chain = error.chain().map(ToString::to_string);
    let mut text = chain.next().unwrap_or_default();
    for cause in chain {
        // An error that already says its cause need not say it twice.
        if !text.contains(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    eprintln!("keyferry: {text}");
}
