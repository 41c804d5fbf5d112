//! Contenders as processes of their own, so that the system tells what each costs.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;

/// The kernel's clock ticks a second, as `/proc` counts them on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running process. Dropped, it is killed.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(
        program: &str,
        arguments: &[&str],
        environment: &BTreeMap<&str, String>,
    ) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        Ok(Self(child))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until somebody listens on `address`; how long that took.
    pub(crate) async fn listens(&mut self, address: SocketAddr) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = self.0.try_wait()? {
                bail!("a contender ended with {status}");
            }
            if began.elapsed() > Duration::from_secs(20) {
                bail!("a contender does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(began.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program that is measured, as `cargo bench` built it.
pub(crate) const KEYFERRY: &str = env!("CARGO_BIN_EXE_keyferry");

/// Processor time of a process so far, all threads together.
pub(crate) fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name is in brackets and may hold anything; the numbers begin after it.
    let numbers = stat.rsplit(')').next().context("a stat without a name")?;
    let field = |index: usize| -> anyhow::Result<f64> {
        Ok(numbers.split_whitespace().nth(index).context("a short stat")?.parse()?)
    };
    Ok(Duration::from_secs_f64((field(11)? + field(12)?) / TICKS_PER_SECOND))
}

/// Resident memory in MiB.
pub(crate) fn resident_mib(process: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
