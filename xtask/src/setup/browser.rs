//! A real Chromium and the driver that must belong to it.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::{find_program, probe};
use crate::version;

/// Names under which distributions and Google ship the browser.
const BROWSERS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// What Debian calls them.
pub(crate) const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// The versions, when browser and driver are there and of the same major version.
pub(crate) fn present() -> Option<String> {
    let browser = probe(Command::new(find_program(&BROWSERS)?).arg("--version"))?;
    let driver = probe(Command::new(find_program(&["chromedriver"])?).arg("--version"))?;
    let (browser, driver) = (version::first(&browser)?, version::first(&driver)?);
    (browser[0] == driver[0])
        .then(|| format!("{}, driver {}", version::show(&browser), version::show(&driver)))
}

pub(crate) fn install() -> Result<()> {
    apt::install(&PACKAGES)
}
