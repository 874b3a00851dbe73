//! Records the golden files of the core anew: digests, scripts and transcripts.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::{probe, run};

/// The tests that write their golden files if they are asked to.
const TESTS: [&str; 3] = ["digests", "scripts", "transcripts"];

/// Records all files and lists those that differ from the last commit.
pub(crate) fn bless() -> Result<()> {
    let mut tests = Command::new("cargo");
    tests.current_dir(paths::root());
    tests.args(["test", "--package=raft-core", "--features=wire", "--test=it", "--"]).args(TESTS);
    // The second variable is that of goldenscript.
    run(tests.env("GLASSRAFT_BLESS", "1").env("UPDATE_GOLDENFILES", "1"))?;
    let changed = probe(Command::new("git").current_dir(paths::root()).args([
        "status",
        "--short",
        "--",
        "core/tests",
    ]));
    match changed.as_deref().map(str::trim_end) {
        None | Some("") => println!("bless: nothing changed"),
        Some(files) => println!("bless: read the differences before you commit them:\n{files}"),
    }
    Ok(())
}
