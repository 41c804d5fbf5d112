//! The disk alone: how long it takes to make one small write durable.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::stats::Latencies;

/// Appends a page and waits until it is on the disk, `times` over.
pub(crate) fn syncs(folder: &Path, times: u32) -> anyhow::Result<Latencies> {
    let mut file = File::create(folder.join("syncs"))?;
    let mut latencies = Latencies::default();
    for _ in 0..times {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        latencies.add(began.elapsed());
    }
    Ok(latencies)
}
