//! `config check` and `config schema`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::{Environment, ServerArgs};
use crate::config::{self, Role, file};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Judge flags, environment and file as a role would at its start; list every mistake
    Check {
        /// Which role to judge for
        #[arg(long, value_enum, default_value_t = For::Run)]
        role: For,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print the JSON Schema of the configuration file
    Schema,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum For {
    Run,
    Serve,
    Work,
    Migrate,
}

impl For {
    pub(super) fn role(self) -> Role {
        match self {
            Self::Run => Role::Run,
            Self::Serve => Role::Serve,
            Self::Work => Role::Work,
            Self::Migrate => Role::Migrate,
        }
    }
}

pub(super) fn run(command: Command, environment: &Environment) -> anyhow::Result<ExitCode> {
    let text = match command {
        Command::Schema => file::schema(),
        Command::Check { role, server } => {
            let role = role.role();
            config::load(role, &server.flags(), environment, server.store.file()?.as_deref())?;
            "the configuration is good\n".to_owned()
        }
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
