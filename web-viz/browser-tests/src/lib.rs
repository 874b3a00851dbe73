//! Tests of the page as a person uses it: in a real Chromium, driven through chromedriver.
//!
//! Each test has its own driver, browser and server on free ports, and ends exactly those, even
//! after a failure. The tests use the shipped artifacts: the built page (`GLASSRAFT_DIST`) and the
//! server (`GLASSRAFT_NODE_BIN`). `cargo xtask test` sets both.

mod browser;
mod demo;
mod guarded;
mod page;
mod pointer;
mod process;
mod serve;
pub mod speed;

pub use browser::{Colours, Looks, Screen, with_browser, with_page};
pub use demo::Demo;
pub use guarded::Guarded;
pub use page::Page;
pub use pointer::{Pointer, Touch};
pub use process::Process;
pub use serve::Site;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Reads the script of axe-core, which finds accessibility problems.
///
/// # Errors
/// Fails if the script is missing.
pub fn axe() -> Result<String> {
    let script = given("GLASSRAFT_AXE", "the script of axe-core")?;
    std::fs::read_to_string(script).context("axe-core cannot be read")
}

/// Reads a path from an environment variable.
fn given(variable: &str, what: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).with_context(|| {
        format!("{variable} must name {what}; `cargo xtask test` sets it, and builds what it names")
    })?;
    let path = PathBuf::from(path);
    anyhow::ensure!(path.exists(), "{variable} names {}, which is not there", path.display());
    Ok(path)
}
