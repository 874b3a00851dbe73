//! Programs that cargo installs, each in an exact version.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{find_program, probe, run_logged};
use crate::version;

/// A program from crates.io.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    /// Name of the package.
    package: &'static str,
    /// The required version.
    version: &'static str,
    /// The programs that it installs; each must print `version` for `--version`.
    programs: &'static [&'static str],
    /// Features to build instead of the default ones.
    features: Option<&'static str>,
}

/// Must have the version that Cargo.toml pins for the crate, because both must use the same format.
/// A test compares them.
pub(crate) const WASM_BINDGEN: Tool = Tool {
    package: "wasm-bindgen-cli",
    version: "0.2.126",
    programs: &["wasm-bindgen", "wasm-bindgen-test-runner"],
    features: None,
};

/// The last version that the pinned Rust can build.
pub(crate) const TRUNK: Tool =
    Tool { package: "trunk", version: "0.21.14", programs: &["trunk"], features: None };

/// Checks that Cargo.lock has the version of the installed program. With another version trunk
/// would download another program.
pub(crate) fn check_wasm_bindgen(lock: &str) -> Result<()> {
    let lock: toml::Table = lock.parse().context("Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let field = |package: &toml::Value, key: &str| {
        package.get(key).and_then(toml::Value::as_str).map(str::to_owned)
    };
    let locked = packages
        .into_iter()
        .flatten()
        .filter(|package| field(package, "name").is_some_and(|name| name == "wasm-bindgen"));
    for version in locked.filter_map(|package| field(package, "version")) {
        if version != WASM_BINDGEN.version {
            bail!(
                "Cargo.lock has wasm-bindgen {version} where this workspace uses {}. Take it from \
                 [workspace.dependencies] in every package, with web-sys, js-sys and \
                 wasm-bindgen-futures",
                WASM_BINDGEN.version
            );
        }
    }
    Ok(())
}

impl Tool {
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.package, self.version)
    }

    pub(crate) fn present(&self) -> Option<String> {
        let wanted = version::first(self.version);
        let mut places = self.programs.iter().map(|program| {
            let path = find_program(&[program])?;
            let printed = probe(Command::new(&path).arg("--version"))?;
            (version::first(&printed) == wanted).then(|| path.display().to_string())
        });
        places.by_ref().collect::<Option<Vec<_>>>().map(|paths| paths.join(", "))
    }

    pub(crate) fn install(&self) -> Result<()> {
        if find_program(&["cargo-binstall"]).is_some() {
            let begun = Instant::now();
            match run_logged(&mut self.binstall(), &paths::log(self.package)) {
                Ok(()) => return Ok(()),
                Err(error) => println!(
                    "setup: no pre-built {} after {:.0} s, building it: {error:#}",
                    self.package,
                    begun.elapsed().as_secs_f64()
                ),
            }
        }
        let mut build = self.build();
        println!("setup: building {} takes some minutes", self.title());
        run_logged(&mut build, &paths::log(self.package))
    }

    /// The command that a user types.
    pub(crate) fn by_hand(&self) -> String {
        format!("cargo install --locked {} --version {}", self.package, self.version)
    }

    fn binstall(&self) -> Command {
        let mut command = Command::new("cargo");
        command.args(["binstall", "--no-confirm", "--disable-strategies", "compile"]);
        command.arg(format!("{}@{}", self.package, self.version));
        command
    }

    /// `cargo install` with fast compilation: building these programs takes longer than all their
    /// runs.
    fn build(&self) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(["install", "--locked", "--force", self.package, "--version", self.version])
            // Shared, to compile common dependencies only once.
            .env("CARGO_TARGET_DIR", paths::target().join("tools"))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        if let Some(features) = self.features {
            command.args(["--no-default-features", "--features", features]);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_and_the_program_wasm_bindgen_have_one_version() {
        let manifest = std::fs::read_to_string(paths::root().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let pinned = manifest["workspace"]["dependencies"]["wasm-bindgen"].as_str().unwrap();
        assert_eq!(pinned, format!("={}", WASM_BINDGEN.version));
    }

    #[test]
    fn a_lock_file_with_another_wasm_bindgen_is_refused() {
        let lock =
            |version| format!("[[package]]\nname = \"wasm-bindgen\"\nversion = \"{version}\"");
        assert!(check_wasm_bindgen(&lock(WASM_BINDGEN.version)).is_ok());
        assert!(check_wasm_bindgen("version = 4").is_ok());
        let error = check_wasm_bindgen(&lock("0.2.1")).unwrap_err().to_string();
        assert!(error.starts_with("Cargo.lock has wasm-bindgen 0.2.1 where"), "{error}");
    }
}
