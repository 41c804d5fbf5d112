//! The store: reached, migrated, writable, with room on its disk, and not shared by accident.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::statvfs;
use secrecy::ExposeSecret as _;
use url::Url;

use super::{Patient, Report, is_loopback};
use crate::clock::{Clock, Entropy};
use crate::store::{self, Inspection, Store, StoreError};

pub(super) const AREA: &str = "store";

const MIB: u64 = 1024 * 1024;
const FREE_PROBLEM: u64 = 256 * MIB;
const FREE_WARNING: u64 = 1024 * MIB;

pub(super) async fn look(patient: &Patient<'_>, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> Report {
    let mut report = Report::of(AREA);
    if !patient.role.works() || super::is_mistaken(patient, "store.url") {
        return report;
    }
    let url = patient.config.store_url.expose_secret();
    let file = store::sqlite_file(url);
    if let Some(file) = &file
        && !look_at_file(file, &mut report)
    {
        return report;
    }
    match store::inspect(url).await {
        Ok(seen) => {
            if let Some(theirs) = seen.now {
                report.clock("database", theirs, clock.now());
            }
            exposure(url, &seen, &mut report);
            if schema(&seen, &mut report) {
                contents(url, clock, entropy, &mut report).await;
            }
        }
        Err(error) => unreachable(&error, &mut report),
    }
    report
}

/// Whether there is a file to open.
fn look_at_file(file: &Path, report: &mut Report) -> bool {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        report.problem(
            format!("the folder of {} does not exist", file.display()),
            "make it, or set KEYFERRY_STORE_URL to the path that you mean",
        );
        return false;
    }
    free_space(parent, report);
    if !file.exists() {
        report.warning(
            format!("{} does not exist yet", file.display()),
            "nothing, if this is a new set-up: `keyferry run` makes it. Else set KEYFERRY_STORE_URL to the right path",
        );
        return false;
    }
    let others = holders(file);
    if others.len() > 1 {
        let pids: Vec<String> = others.iter().map(u32::to_string).collect();
        report.warning(
            format!("{} processes use {} at once ({})", others.len(), file.display(), pids.join(", ")),
            "let one process use a SQLite file; several share a PostgreSQL (KEYFERRY_STORE_URL=postgres://…)",
        );
    }
    true
}

fn free_space(folder: &Path, report: &mut Report) {
    let Ok(disk) = statvfs(folder) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let what = format!("{} MiB are free on the disk of {}", free / MIB, folder.display());
    match free {
        ..FREE_PROBLEM => report.problem(format!("only {what}: webhooks are refused when it is full"), "make room"),
        FREE_PROBLEM..FREE_WARNING => report.warning(format!("only {what}"), "make room soon"),
        FREE_WARNING.. => report.ok(what),
    }
}

/// The processes that have a WAL database open: each holds a shared lock on the file beside it.
fn holders(file: &Path) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let shared_memory = format!("{}-shm", file.display());
    let (Ok(metadata), Ok(locks)) = (std::fs::metadata(shared_memory), std::fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    // `1: POSIX  ADVISORY  READ 4242 fe:00:123456 128 128`
    let inode = format!(":{}", metadata.ino());
    let mut pids: Vec<u32> = locks
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(5).is_some_and(|place| place.ends_with(&inode)))
        .filter_map(|fields| fields.get(4)?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn exposure(url: &str, seen: &Inspection, report: &mut Report) {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    if seen.is_encrypted == Some(false) && host.is_some_and(|host| !is_loopback(&host)) {
        report.warning(
            "the connection to PostgreSQL is not encrypted: all that is stored can be read on the way",
            "add ?sslmode=verify-full to KEYFERRY_STORE_URL, or make sure that the network between is yours alone",
        );
    }
}

/// Whether the tables are there and as this program knows them.
fn schema(seen: &Inspection, report: &mut Report) -> bool {
    let Inspection { version, needed, .. } = *seen;
    match version.cmp(&needed) {
        Ordering::Greater => report.problem(
            format!("its schema is at version {version} and this program knows {needed}: a newer one was here"),
            "run the newer program everywhere, this machine included",
        ),
        Ordering::Less => report.problem(
            format!("its schema is at version {version} and this program needs {needed}"),
            "run `keyferry migrate`",
        ),
        Ordering::Equal => report.ok(format!("it answers, and its schema is at version {version}, as it should be")),
    }
    if let Some(why) = &seen.read_only {
        report.problem(
            format!("nothing can be written to it: {why}"),
            "give the user of KEYFERRY_STORE_URL the right to write, or point it at the primary server",
        );
    }
    version == needed
}

/// What waits for a person in it. Opening is safe here: there is a migrated store.
async fn contents(url: &str, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>, report: &mut Report) {
    let opened = Store::open(url, 2, Arc::clone(clock), Arc::clone(entropy)).await;
    let parked = match opened {
        Ok(store) => store.parked_count().await,
        Err(error) => Err(error),
    };
    match parked {
        Ok(0) => {}
        Ok(parked) => report.warning(
            format!("{parked} parked for a person"),
            "see `keyferry parked list`, then release or discard what is there",
        ),
        Err(error) => unreachable(&error, report),
    }
}

fn unreachable(error: &StoreError, report: &mut Report) {
    let advice = if error.is_refusal() {
        "see whether the database exists, and whether user and password in KEYFERRY_STORE_URL are right"
    } else {
        "see whether the database runs and can be reached from here, and whether KEYFERRY_STORE_URL is right"
    };
    report.problem(error.to_string(), advice);
}
