//! Chromium and the chromedriver of the same major version.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::{find_program, probe};
use crate::version;

/// Program names that distributions and Google use for the browser.
const BROWSERS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Names of the Debian packages.
pub(crate) const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Returns the versions if browser and driver are installed with the same major version.
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
