//! What the disk itself takes: one small record, made durable, in a file that has its space already.
//! No durable write can be faster.

use std::fs::{File, remove_file};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::figures::median;

/// Bytes of a record: a value and what belongs to it.
const RECORD_BYTES: usize = 320;

/// Records that are written.
const RECORDS: usize = 2000;

/// How long one takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sync {
    /// Half of them took less, in milliseconds.
    pub p50: f64,
    /// All but one in a hundred.
    pub p99: f64,
}

/// Measures the disk on which a directory is.
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
