//! Progress of long work, on terminals only: a file or another program gets the result alone.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the picture moves while nothing is known.
const TICK: Duration = Duration::from_millis(120);

/// Shows how much of so many bytes is done.
pub(super) fn bytes(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    bar.with_style(ProgressStyle::with_template(style).expect("a good template")).with_message(what)
}

/// Shows that something goes on, for as long as it does.
pub(super) fn spinner(what: String) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{spinner} {msg}, {elapsed}").expect("a good template");
    let bar = bar.with_style(style).with_message(what);
    bar.enable_steady_tick(TICK);
    bar
}
