//! Watches of keys.

use std::time::Duration;

/// A watcher without events receives a bookmark with the current revision after this time.
pub const BOOKMARK_INTERVAL: Duration = Duration::from_secs(5);
