//! Real processes of the real program: started, listened to, and really killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::wait;

/// A running `keyferry`. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    /// What it has printed so far, on either stream.
    said: Arc<Mutex<Vec<String>>>,
    name: String,
}

/// The program as a command, with nothing of this machine's configuration in its environment.
pub(crate) fn keyferry(arguments: &[&str], environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(arguments).env_clear().envs(environment).env("RUST_BACKTRACE", "0");
    command
}

impl Process {
    pub(crate) fn start(arguments: &[&str], environment: &BTreeMap<String, String>) -> Self {
        let mut child = keyferry(arguments, environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        listen(child.stdout.take().expect("piped"), Arc::clone(&said));
        listen(child.stderr.take().expect("piped"), Arc::clone(&said));
        Self { child, said, name: arguments.join(" ") }
    }

    /// Waits for a line that contains `mark`; returns what stands after it, up to white space or a quote.
    pub(crate) async fn says(&mut self, mark: &str) -> String {
        let what = format!("`keyferry {}` to say {mark:?}", self.name);
        wait::until(&what, async || {
            let ended = self.child.try_wait().expect("asked");
            let after = self.after(mark);
            // What it said last may still be on its way to us.
            assert!(
                after.is_some() || ended.is_none() || !self.has_hung_up(),
                "{what}: it ended\n{}",
                self.everything()
            );
            after
        })
        .await
    }

    fn after(&self, mark: &str) -> Option<String> {
        let said = self.said.lock().expect("the lines");
        let rest = said.iter().find_map(|line| line.split_once(mark))?.1;
        Some(rest.split(|c: char| c.is_whitespace() || c == '"').next().unwrap_or_default().to_owned())
    }

    /// Whether both its streams are at their end.
    fn has_hung_up(&self) -> bool {
        Arc::strong_count(&self.said) == 1
    }

    pub(crate) fn has_said(&self, mark: &str) -> bool {
        self.after(mark).is_some()
    }

    pub(crate) fn everything(&self) -> String {
        self.said.lock().expect("the lines").join("\n")
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// `STOP`, `CONT`, `TERM`, …
    pub(crate) fn signal(&self, name: &str) {
        signal(name, &self.pid());
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Waits for an end of its own.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        wait::until("a process's end", async || self.child.try_wait().expect("asked")).await
    }

    /// SIGTERM, and the wait for the end.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ends().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- keyferry {} said:\n{}", self.name, self.everything());
        }
        // Ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process, or with a minus before its number to a process group.
pub(crate) fn signal(name: &str, to: &str) {
    let sent = Command::new("kill").args(["-s", name, "--", to]).status().expect("kill runs");
    assert!(sent.success(), "kill -s {name} -- {to}");
}

fn listen(stream: impl Read + Send + 'static, said: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            said.lock().expect("the lines").push(line);
        }
    });
}
