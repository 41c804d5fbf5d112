//! How fast, beside what the same machine can do: every figure stands next to a reference of the same run.
//!
//! `scripts/bench` starts a private RabbitMQ and PostgreSQL and runs this. The machine is shared and noisy, so contenders
//! take turns, rounds repeat, and only medians and their ratios are worth reading. See `docs/performance.md`.

#![expect(clippy::print_stdout, reason = "figures are what a bench is for")]

mod broker;
mod contenders;
mod disk;
mod growth;
mod load;
mod process;
mod receiving;
mod report;
mod request;
mod road;
mod stats;
mod working;

use std::time::Duration;

use anyhow::{Context as _, bail};

/// What to measure, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How often each contender has its turn.
    pub(crate) rounds: usize,
    /// How long a turn takes.
    pub(crate) turn: Duration,
    pub(crate) connections: usize,
    /// Only what has this in its name: for whoever looks for where the time goes.
    pub(crate) only: Option<String>,
}

impl Plan {
    pub(crate) fn asks_for(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo test --all-targets` runs this too, and has nothing to learn from it.
    if !std::env::args().any(|argument| argument == "--bench") && arguments.is_empty() {
        println!("figures are taken by scripts/bench");
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let mut words = arguments.iter().map(String::as_str);
    match words.next() {
        Some("contender") => {
            let name = words.next().context("which contender?")?;
            runtime.block_on(contenders::serve(name, words.next()))
        }
        first => {
            let plan = plan(&mut first.into_iter().chain(words))?;
            runtime.block_on(measure(&plan))
        }
    }
}

fn plan<'a>(words: &mut impl Iterator<Item = &'a str>) -> anyhow::Result<Plan> {
    let mut plan = Plan { rounds: 5, turn: Duration::from_secs(4), connections: 64, only: None };
    while let Some(word) = words.next() {
        if word == "--only" {
            plan.only = Some(words.next().context("--only takes a part of a name")?.to_owned());
            continue;
        }
        let mut number =
            || -> anyhow::Result<u64> { Ok(words.next().with_context(|| format!("{word} takes a number"))?.parse()?) };
        match word {
            "--rounds" => plan.rounds = usize::try_from(number()?)?,
            "--seconds" => plan.turn = Duration::from_secs(number()?),
            "--connections" => plan.connections = usize::try_from(number()?)?,
            _ => bail!("usage: scripts/bench [--rounds N] [--seconds N] [--connections N] [--only NAME]"),
        }
    }
    Ok(plan)
}

async fn measure(plan: &Plan) -> anyhow::Result<()> {
    println!("{} rounds of {:?}, {} connections\n", plan.rounds, plan.turn, plan.connections);
    receiving::measure(plan).await?;
    if plan.asks_for("road") {
        road::measure(plan).await?;
    }
    if plan.asks_for("worker") {
        working::measure(plan).await?;
    }
    if plan.asks_for("growth") {
        growth::measure().await?;
    }
    Ok(())
}
