//! New secrets and sources for a process that runs: read again, judged whole, and exchanged at once or not at all.

use std::sync::Arc;

use tokio::sync::watch;

use super::Config;
use super::layers::Said;
use crate::receiver::Roster;

/// Reads the configuration again, and hands what may change to whoever follows it.
pub struct Reload<F> {
    read: F,
    /// What the process was started with: all but the sources stays so until its next start.
    said: Said,
    roster: watch::Sender<Arc<Roster>>,
}

/// What a new reading brought. Names only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// What counts from now on, a sentence each.
    pub changes: Vec<String>,
    /// Settings that say something else than at the start, and count from the next one on.
    pub left: Vec<String>,
}

impl<E, F: FnMut() -> Result<Config, E>> Reload<F> {
    /// `read` reads all layers once more, as they were read for `config`.
    pub fn of(config: &Config, read: F) -> Self {
        Self { read, said: config.said.clone(), roster: watch::Sender::new(Arc::clone(&config.roster)) }
    }

    /// The sources as they stand at any time.
    #[must_use]
    pub fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    /// Reads once more. With a single mistake anywhere in it, nothing changes.
    pub fn step(&mut self) -> Result<Reloaded, E> {
        let config = (self.read)()?;
        let old = self.roster.send_replace(Arc::clone(&config.roster));
        Ok(Reloaded { changes: old.changes(&config.roster), left: self.said.changes(&config.said) })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Flags, Problems, Role, load};

    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn app(secrets: &str, rest: &str) -> String {
        format!("[[sources]]\nname = 'app'\nkind = 'standard'\nsecrets = [{secrets}]\n{rest}")
    }

    /// What each of `files` brings to a process that was started with the first.
    fn readings(role: Role, files: &[&str]) -> Vec<Result<Reloaded, Problems>> {
        let environment = [("SEAM_API_KEY", "seam_1"), ("KEYFERRY_AMQP_URL", "amqp://localhost")];
        let environment: BTreeMap<_, _> = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let current = RefCell::new(files[0]);
        let read = || load(role, &Flags::default(), &environment, Some(*current.borrow()));
        let mut reload = Reload::of(&read().expect("a good start"), read);
        let mut readings = Vec::new();
        for file in files {
            current.replace(file);
            readings.push(reload.step());
        }
        readings
    }

    #[test]
    fn what_changes_is_said_by_its_name() {
        let one = app(&format!("{{name = 'a', value = '{OLD}'}}"), "");
        let two = app(&format!("{{name = 'a', value = '{OLD}'}}, {{name = 'b', value = '{NEW}'}}"), "");
        let moved = app(&format!("{{name = 'b', value = '{OLD}'}}"), "tolerance_seconds = 60");
        let other = moved.replace("'app'", "'desk'");
        let readings = readings(Role::Run, &[&one, &two, &moved, &other]);
        let changes = readings.into_iter().map(|reading| reading.expect("good").changes.join("; "));
        let expected = [
            "",
            "source `app`: secret `b` is new",
            "source `app`: secret `b` is another; source `app`: secret `a` is gone; source `app`: its settings are others",
            "source `app` is gone; source `desk` is new",
        ];
        assert_eq!(changes.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_mistake_anywhere_changes_nothing_and_the_next_good_reading_is_compared_with_what_counts() {
        let old = app(&format!("'{OLD}'"), "");
        let bad = format!("worker.concurrency = 0\n{}", app(&format!("'{NEW}'"), ""));
        let good = app(&format!("'{NEW}'"), "");
        let [_, refused, taken] = readings(Role::Run, &[&old, &bad, &good]).try_into().expect("three");
        assert!(refused.expect_err("a mistake").to_string().contains("worker.concurrency"));
        assert_eq!(taken.expect("good").changes, ["source `app`: secret `1` is another"]);
    }

    #[test]
    fn what_needs_another_start_is_named_until_it_is_as_it_was() {
        let old = format!("worker.concurrency = 4\n{}", app(&format!("'{OLD}'"), ""));
        let new = format!("worker.concurrency = 5\nops.token = 'of-sixteen-bytes'\n{}", app(&format!("'{OLD}'"), ""));
        let readings = readings(Role::Run, &[&new, &old, &old]);
        let left: Vec<_> = readings.into_iter().map(|reading| reading.expect("good").left).collect();
        assert_eq!(left, [vec![], vec!["ops.token", "worker.concurrency"], vec!["ops.token", "worker.concurrency"]]);
    }

    #[test]
    fn a_worker_follows_how_bodies_are_read() {
        let hmac = |id: &str| {
            format!(
                "[[sources]]\nname = 'desk'\nkind = 'hmac'\nheader = 'X-Signature'\nsecrets = [{{env = 'NOT_HERE'}}]\n\
                 pointers = {{id = '{id}', type = '/type'}}"
            )
        };
        let readings = readings(Role::Work, &["", &hmac("/a"), &hmac("/b"), ""]);
        let changes: Vec<_> = readings.into_iter().map(|reading| reading.expect("good").changes.join("; ")).collect();
        let expected = ["", "bodies of `desk` can be read", "bodies of `desk` are read in another way"];
        assert_eq!(changes[..3], expected);
        assert_eq!(changes[3], "bodies of `desk` can be read no more");
    }
}
