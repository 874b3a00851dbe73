//! Reloads tokens and certificates while the server runs, on SIGHUP and when the files change. If a
//! file is unusable, the error is logged and the previous content stays in effect.
//!
//! **Invariant:** Files of one kind take effect together or not at all. A half-written certificate
//! or key changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are checked: a mounted secret changes without a signal.
const GLANCE: Duration = Duration::from_secs(10);

/// Files that are reloaded together.
pub struct Watched {
    /// What the files are, for log lines.
    pub what: &'static str,
    /// The paths of the files.
    pub files: Vec<PathBuf>,
    /// Reads the files and applies them, all or nothing. May block.
    pub apply: Box<dyn Fn() -> anyhow::Result<()> + Send + Sync>,
    /// Their fingerprint from before the first read, to notice changes during the start.
    pub seen: Fingerprint,
}

/// Watches the files until the future is dropped.
pub async fn run(watched: Vec<Watched>, mut hangups: Signal) {
    let watched = watched.into_iter().map(|it| (it.seen, Arc::new(it)));
    let mut watched: Vec<_> = watched.collect();
    let mut ticks = interval(GLANCE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangups.recv() => true,
        };
        if told && watched.is_empty() {
            tracing::info!("SIGHUP: there are no tokens or certificates to reload");
        }
        for (seen, files) in &mut watched {
            let (files, before) = (Arc::clone(files), *seen);
            let look = tokio::task::spawn_blocking(move || files.look(before, told));
            // If the check panicked, keep the old fingerprint.
            *seen = look.await.unwrap_or(before);
        }
    }
}

impl Watched {
    /// Reloads the files if they changed or `told` is set. Returns their fingerprint.
    fn look(&self, before: Fingerprint, told: bool) -> Fingerprint {
        let now = fingerprint(&self.files);
        if !told && before == now {
            return now;
        }
        match (self.apply)() {
            Ok(()) => tracing::info!("reloaded the {}", self.what),
            Err(error) => tracing::error!(
                "cannot reload the {}; the previous version stays in effect: {error:#}",
                self.what
            ),
        }
        now
    }
}

/// A hash of the contents of files.
pub type Fingerprint = [u8; 32];

/// Computes a hash that changes when a file changes, appears or disappears.
pub fn fingerprint(files: &[PathBuf]) -> Fingerprint {
    let mut all = Sha256::new();
    for file in files {
        let content = std::fs::read(file).ok();
        all.update([u8::from(content.is_some())]);
        all.update(Sha256::digest(content.unwrap_or_default()));
    }
    all.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Guards a token that is revoked while the server starts. The first check reloads a file that
    /// changed after its first read, and only once.
    #[test]
    fn what_changes_during_the_start_is_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("tokens");
        std::fs::write(&file, "two lines").expect("room");
        let (applied, files) = (Arc::new(AtomicUsize::new(0)), vec![file.clone()]);
        let seen = fingerprint(&files);
        let count = Arc::clone(&applied);
        let apply = move || {
            count.fetch_add(1, Relaxed);
            Ok(())
        };
        let watched = Watched { what: "tokens", files, apply: Box::new(apply), seen };
        assert_eq!(watched.look(seen, false), seen);
        assert_eq!(applied.load(Relaxed), 0);
        std::fs::write(&file, "one line").expect("room");
        let now = watched.look(watched.seen, false);
        assert_eq!(applied.load(Relaxed), 1);
        watched.look(now, false);
        assert_eq!(applied.load(Relaxed), 1, "once is enough");
        watched.look(now, true);
        assert_eq!(applied.load(Relaxed), 2, "told to, it is read in any case");
    }
}
