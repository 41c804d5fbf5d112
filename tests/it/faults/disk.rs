//! SQLite's file: locked by somebody else, on a full disk, left behind by a process that was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyferry::store;
use tempfile::TempDir;

use super::embedded;
use crate::support::say::say;
use crate::support::town::Town;

#[tokio::test]
async fn another_process_holds_the_lock() {
    let ground = embedded();
    let file = store::sqlite_file(&ground.store_url).expect("a file");
    let mut town = Town::on(ground).await;
    let guests = town.guests().await;
    let other = rusqlite::Connection::open(file).expect("the file");
    let mut process = town.processes.pop().expect("the process");
    let trouble = async {
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
        process.says("webhooks could not be committed").await;
        other.execute_batch("ROLLBACK").expect("it is given back");
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    assert!(tally.refused > 0, "what is not committed is not acknowledged: {tally:?}");
    town.close().await;
}

#[tokio::test]
async fn the_disk_is_full() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut ground = embedded();
    ground.store_url = format!("sqlite:{}", disk.path().join("keyferry.db").display());
    let mut town = Town::on(ground).await;
    let guests = town.guests().await;
    let mut process = town.processes.pop().expect("the process");
    let ballast = disk.path().join("ballast");
    let trouble = async {
        let full = fs::write(&ballast, vec![0; 64 << 20]).expect_err("it is small");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        process.says("answering 503").await;
        fs::remove_file(&ballast).expect("removed");
    };
    town.under_load(&guests, trouble).await;
    town.close().await;
}

#[tokio::test]
async fn the_process_is_killed_again_and_again() {
    let mut town = Town::on(embedded()).await;
    let guests = town.guests().await;
    for _ in 0..4 {
        let process = town.processes.pop().expect("the process");
        let trouble = async {
            // Some of what is sent meets nobody, some a process that is about to be killed, some its successor.
            process.kill();
            town.launch("run")
        };
        let (mut process, _) = town.under_load(&guests, trouble).await;
        town.ready("run", &mut process).await;
        town.processes.push(process);
    }
    town.close().await;
}

/// A file system of a few megabytes in memory. Dropped, it is unmounted.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` for a user who may not mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "keyferry-test"]).arg(dir.path());
        if mount.status().expect("mount runs").success() {
            return Some(Self(dir));
        }
        let user = Command::new("id").arg("-u").output().expect("id runs").stdout;
        assert_ne!(user, b"0\n", "root may mount; in a container it needs CAP_SYS_ADMIN");
        say("SKIPPED: only root can mount the small disk that this story fills up");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path: PathBuf = self.0.path().to_owned();
        // Lazily: the database may still be open.
        let _ = Command::new("umount").arg("--lazy").arg(path).status();
    }
}
