//! The demo's directory: its settings, and a lock against a second demo.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The contents of `demo.toml` in the directory.
#[derive(Serialize, Deserialize)]
struct Made {
    /// The number of servers.
    nodes: u16,
    /// Whether all servers have started once. A server with an empty directory has then lost its
    /// data.
    #[serde(default)]
    founded: bool,
}

/// The name of the file with the servers' shared secret.
pub(super) const SECRET_FILE: &str = "cluster-secret";

/// A directory that this demo has locked until the value is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    /// Whether the cluster existed before.
    pub(super) founded: bool,
    path: PathBuf,
    nodes: u16,
    _lock: File,
}

/// Creates or checks the directory, and locks it.
pub(super) fn claim(directory: &Path, nodes: u16) -> anyhow::Result<Claim> {
    let shown = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("cannot create {shown}"))?;
    let lock = directory.join("demo.lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("another demo runs in {shown}; stop it, or choose another directory with --dir")
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {shown}"));
        }
    }
    make_secret(&directory.join(SECRET_FILE))?;
    let path = directory.join("demo.toml");
    if path.exists() {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let made: Made = toml::from_str(&text)
            .with_context(|| format!("{} is not a file of a demo", path.display()))?;
        if made.nodes != nodes {
            bail!(
                "{shown} contains a cluster of {} servers; run it with --nodes {}, or choose \
                 another directory with --dir",
                made.nodes,
                made.nodes
            );
        }
        return Ok(Claim { founded: made.founded, path, nodes, _lock: lock });
    }
    let claim = Claim { founded: false, path, nodes, _lock: lock };
    claim.write()?;
    Ok(claim)
}

/// Creates the servers' shared secret, unless it exists. Only the user may read it: anybody who
/// knows it can pose as a server.
fn make_secret(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).context("cannot get random bytes from the system")?;
    let text = secret.map(|byte| format!("{byte:02x}")).concat();
    // Rename when complete: the next start would accept a partial secret.
    let unfinished = path.with_extension("part");
    let make = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    make().with_context(|| format!("cannot create {}", path.display()))
}

impl Claim {
    /// Records that the cluster exists: an empty directory of a server is a loss from now on.
    pub(super) fn set_founded(&mut self) -> anyhow::Result<()> {
        self.founded = true;
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let made = Made { nodes: self.nodes, founded: self.founded };
        let text = toml::to_string(&made).context("cannot write the demo's settings as TOML")?;
        fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{SECRET_FILE, claim};

    /// Guards the servers against other programs and users of the machine. Each demo has its own
    /// persistent secret that only its user can read.
    #[test]
    fn each_demo_has_a_secret_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let secret_of = |name: &str| {
            let path = directory.path().join(name);
            drop(claim(&path, 3).expect("a directory"));
            let file = path.join(SECRET_FILE);
            let mode = file.metadata().expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::read_to_string(file).expect("a secret")
        };
        let secret = secret_of("one");
        assert_eq!(secret.len(), 64);
        assert_eq!(secret_of("one"), secret, "it stays");
        assert_ne!(secret_of("other"), secret);
    }

    /// Guards the cluster's data against a demo with another number of servers, and against two
    /// demos at once.
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
        let mut again = claim(&path, 3).expect("the same again");
        assert!(!again.founded);
        again.set_founded().expect("written");
        drop(again);
        assert!(claim(&path, 3).expect("the same again").founded);
    }
}
