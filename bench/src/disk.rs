//! Measures the disk alone: a small durable write to a preallocated file. No durable write of a
//! server can be faster.

use std::fs::{File, remove_file};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::figures::median;

/// Bytes of a record: a value with its overhead.
const RECORD_BYTES: usize = 320;

/// Number of records to write.
const RECORDS: usize = 2000;

/// Latency of a durable write.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sync {
    /// Median, in milliseconds.
    pub p50: f64,
    /// 99th percentile, in milliseconds.
    pub p99: f64,
}

/// Measures the disk that holds a directory.
pub fn measure(directory: &Path) -> Result<Sync> {
    let path = directory.join("fdatasync");
    let took = write_records(&path);
    remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    let mut took = took.with_context(|| format!("cannot write {}", path.display()))?;
    let p50 = median(&took, |it| *it).unwrap_or(0.0);
    took.sort_by(f64::total_cmp);
    Ok(Sync { p50, p99: took[RECORDS * 99 / 100] })
}

fn write_records(path: &Path) -> std::io::Result<Vec<f64>> {
    use std::io::Seek as _;
    let mut file = File::create(path)?;
    file.write_all(&vec![0; RECORD_BYTES * RECORDS])?;
    file.sync_all()?;
    file.rewind()?;
    let mut took = Vec::with_capacity(RECORDS);
    for _ in 0..RECORDS {
        let begun = Instant::now();
        file.write_all(&[1; RECORD_BYTES])?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(took)
}
