//! Prepares a fresh machine to build and test the workspace.
//!
//! Setup checks each part first and installs it only if it is missing or has the wrong version.
//! Running it again costs nothing. It never prompts. If it cannot install a part, it prints the
//! command that would.

mod apt;
mod axe;
mod browser;
mod lints;
mod node;
mod protoc;
mod schemathesis;
mod tools;
mod wasm;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, bail};

pub(crate) use axe::script as axe;
pub(crate) use schemathesis::program as schemathesis;
pub(crate) use tools::check_wasm_bindgen;
pub(crate) use wasm::{TARGET, WasmToolchain};

/// A tool that the workspace needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// rustfmt and clippy.
    Lints,
    /// A Rust compiler with a standard library for `wasm32-unknown-unknown`.
    Wasm,
    /// Node.js, which runs the core's tests in wasm.
    Node,
    /// protoc, which the measurements need.
    Protoc,
    /// schemathesis, which tests the API against its description.
    Schemathesis,
    /// axe-core, which checks the accessibility of the page.
    Axe,
    /// Chromium and its driver, for the browser tests.
    Browser,
    /// `wasm-bindgen` and its test runner.
    WasmBindgen,
    /// `trunk`, which builds and serves the page.
    Trunk,
}

/// All parts, quick ones first: a missing part is reported before installations that take minutes.
pub(crate) const ALL: [Part; 9] = [
    Part::Lints,
    Part::Wasm,
    Part::Node,
    Part::Protoc,
    Part::Schemathesis,
    Part::Axe,
    Part::Browser,
    Part::WasmBindgen,
    Part::Trunk,
];

/// The parts that the build of the page needs.
pub(crate) const PAGE: [Part; 3] = [Part::Wasm, Part::WasmBindgen, Part::Trunk];

impl Part {
    fn title(self) -> String {
        match self {
            Self::Lints => "rustfmt and clippy".to_owned(),
            Self::Wasm => format!("Rust for {}", wasm::TARGET),
            Self::Node => "Node.js".to_owned(),
            Self::Protoc => "protoc".to_owned(),
            Self::Schemathesis => schemathesis::title(),
            Self::Axe => axe::title(),
            Self::Browser => "Chromium and chromedriver".to_owned(),
            Self::WasmBindgen => tools::WASM_BINDGEN.title(),
            Self::Trunk => tools::TRUNK.title(),
        }
    }

    /// Describes the installed version; `None` if this part must be installed.
    pub(crate) fn present(self) -> Option<String> {
        match self {
            Self::Lints => lints::present(),
            Self::Wasm => WasmToolchain::detect().map(WasmToolchain::describe),
            Self::Node => node::present(),
            Self::Protoc => protoc::present(),
            Self::Schemathesis => schemathesis::present(),
            Self::Axe => axe::present(),
            Self::Browser => browser::present(),
            Self::WasmBindgen => tools::WASM_BINDGEN.present(),
            Self::Trunk => tools::TRUNK.present(),
        }
    }

    /// The command for the user when `install` fails.
    fn by_hand(self) -> String {
        match self {
            Self::Lints => lints::BY_HAND.to_owned(),
            Self::Wasm => wasm::by_hand(),
            Self::Node => apt::by_hand(&node::PACKAGES),
            Self::Protoc => apt::by_hand(&protoc::PACKAGES),
            Self::Schemathesis => schemathesis::by_hand(),
            Self::Axe => axe::by_hand(),
            Self::Browser => apt::by_hand(&browser::PACKAGES),
            Self::WasmBindgen => tools::WASM_BINDGEN.by_hand(),
            Self::Trunk => tools::TRUNK.by_hand(),
        }
    }

    fn install(self) -> Result<()> {
        match self {
            Self::Lints => lints::install(),
            Self::Wasm => wasm::install(),
            Self::Node => node::install(),
            Self::Protoc => protoc::install(),
            Self::Schemathesis => schemathesis::install(),
            Self::Axe => axe::install(),
            Self::Browser => browser::install(),
            Self::WasmBindgen => tools::WASM_BINDGEN.install(),
            Self::Trunk => tools::TRUNK.install(),
        }
    }
}

/// Whether to print a line for parts that are already installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Print every part: the user ran `cargo xtask setup`.
    Everything,
    /// Print only changes: another command needs the parts.
    Changes,
}

/// Installs the missing parts. A failure does not stop the remaining installations.
pub(crate) fn ensure(parts: &[Part], report: Report) -> Result<()> {
    let start = Instant::now();
    let mut failures = Vec::new();
    let mut installed = 0_u32;
    for &part in &parts.iter().copied().collect::<BTreeSet<_>>() {
        let title = part.title();
        if let Some(found) = part.present() {
            if report == Report::Everything {
                println!("setup: {title}: present ({found})");
            }
            continue;
        }
        println!("setup: {title}: missing, installing");
        let begun = Instant::now();
        let outcome = part.install();
        let seconds = begun.elapsed().as_secs_f64();
        match (outcome, part.present()) {
            (Ok(()), Some(found)) => {
                println!("setup: {title}: installed in {seconds:.0} s ({found})");
                installed += 1;
            }
            (Ok(()), None) => failures.push(failure(part, "installed, but it is not found")),
            (Err(error), _) => failures.push(failure(part, &format!("{error:#}"))),
        }
    }
    if installed > 0 {
        println!("setup: {installed} installed in {:.0} s", start.elapsed().as_secs_f64());
    }
    if !failures.is_empty() {
        bail!("set-up is not complete:\n{}", failures.concat());
    }
    if report == Report::Everything && installed == 0 {
        println!("setup: nothing to do");
    }
    Ok(())
}

/// Formats the missing part, the command that installs it, and the error.
fn failure(part: Part, why: &str) -> String {
    let why = why.replace('\n', "\n      ");
    format!("\n  {}\n    get it by: {}\n    it failed: {why}\n", part.title(), part.by_hand())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_part_and_the_command_that_gets_it() {
        let text = failure(Part::Trunk, "no network\nat all");
        let expected = "\n  trunk 0.21.14\n    get it by: cargo install --locked trunk --version 0.21.14\n    \
                        it failed: no network\n      at all\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_part_has_a_command_for_people() {
        for part in ALL {
            assert!(part.by_hand().contains(' '), "{part:?}");
        }
    }
}
