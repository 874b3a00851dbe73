//! The demo's directory: what it was made for, and that only one demo uses it.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// What `demo.toml` in the directory says.
#[derive(Serialize, Deserialize)]
struct Made {
    /// How many servers the data belongs to.
    nodes: u16,
}

/// Makes or checks the directory, and holds it for as long as the answer lives.
pub(super) fn claim(directory: &Path, nodes: u16) -> anyhow::Result<File> {
    let shown = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("cannot make {shown}"))?;
    let lock = directory.join("demo.lock");
    let lock = File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("another demo runs in {shown}; end it, or choose another place with --dir")
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {shown}"));
        }
    }
    let path = directory.join("demo.toml");
    if path.exists() {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let made: Made = toml::from_str(&text)
            .with_context(|| format!("{} is no demo's file", path.display()))?;
        if made.nodes != nodes {
            bail!(
                "{shown} holds a cluster of {} servers; run it with --nodes {}, or choose another \
                 place with --dir",
                made.nodes,
                made.nodes
            );
        }
    } else {
        let text = toml::to_string(&Made { nodes }).context("the demo's file has no form")?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::claim;

    /// Guards the data of a cluster against a demo of another size, and against two demos at once.
    #[test]
    fn a_directory_belongs_to_one_demo_of_one_size() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("demo");
        let held = claim(&path, 3).expect("a new directory");
        let error = claim(&path, 3).expect_err("in use").to_string();
        assert!(error.contains("another demo") && error.contains("--dir"), "{error}");
        drop(held);
        let error = claim(&path, 5).expect_err("another size").to_string();
        assert!(error.contains("--nodes 3") && error.contains("--dir"), "{error}");
        claim(&path, 3).expect("the same again");
    }
}
