//! Files that are read anew while the server runs, on SIGHUP and when they change: tokens and
//! certificates. What cannot be used is told, and what held before goes on holding.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at: a mounted secret changes without a signal.
const GLANCE: Duration = Duration::from_secs(10);

/// Files that are read together.
pub struct Watched {
    /// What they are, in words.
    pub what: &'static str,
    /// Where they are.
    pub files: Vec<PathBuf>,
    /// Reads them and puts them into effect, all or nothing. May block.
    pub apply: Box<dyn Fn() -> anyhow::Result<()> + Send + Sync>,
    /// What they were before they were read first: what changes meanwhile is read anew.
    pub seen: Fingerprint,
}

/// Watches until it is dropped.
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
            tracing::info!("SIGHUP: there are no tokens or certificates to read anew");
        }
        for (seen, files) in &mut watched {
            let (files, before) = (Arc::clone(files), *seen);
            let look = tokio::task::spawn_blocking(move || files.look(before, told));
            // A look that panicked is one that saw nothing.
            *seen = look.await.unwrap_or(before);
        }
    }
}

impl Watched {
    /// Reads the files if they are to be read, and says what was seen.
    fn look(&self, before: Fingerprint, told: bool) -> Fingerprint {
        let now = fingerprint(&self.files);
        if !told && before == now {
            return now;
        }
        match (self.apply)() {
            Ok(()) => tracing::info!("read the {} anew", self.what),
            Err(error) => tracing::error!(
                "the {} cannot be used, those from before go on holding: {error:#}",
                self.what
            ),
        }
        now
    }
}

/// Of the content of files.
pub type Fingerprint = [u8; 32];

/// Changes when a file does; that one is missing counts too.
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

    /// Guards a token that is taken back while the server starts: what has changed since the files
    /// were read first is read anew at the first look, and only then.
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
