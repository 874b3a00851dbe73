//! Checks licences, sources and bans of all dependencies against deny.toml.
//!
//! cargo-deny does this too and also knows the published advisories. But it takes minutes to build,
//! and it fetches its advisories from a git host. This check needs neither and takes a second. If
//! cargo-deny is installed, it runs in addition.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use spdx::{Expression, Licensee, ParseMode};
use toml::{Table, Value};

use crate::metadata::{self, Package};
use crate::paths;
use crate::process::{find_program, probe, run};

/// The part of deny.toml that this module checks.
struct Policy {
    licenses: Vec<Licensee>,
    registries: Vec<String>,
    /// Reasons by package name.
    banned: BTreeMap<String, String>,
}

/// Checks all dependencies and prints those that occur in more than one version.
pub(crate) fn check() -> Result<()> {
    let text = std::fs::read_to_string(paths::root().join("deny.toml"))
        .context("cannot read deny.toml")?;
    let policy = Policy::parse(&text).context("deny.toml")?;
    let packages = metadata::packages()?;
    for (name, versions) in duplicates(&packages) {
        println!("note: {name} comes in {} versions: {}", versions.len(), versions.join(", "));
    }
    let faults = policy.faults(&packages);
    if !faults.is_empty() {
        bail!("dependencies that deny.toml does not allow:\n  {}", faults.join("\n  "));
    }
    let foreign = packages.iter().filter(|package| package.source.is_some()).count();
    println!("{foreign} dependencies: licences, sources and bans are in order");
    cargo_deny()
}

/// Runs cargo-deny if it is installed, and checks advisories if they can be fetched.
fn cargo_deny() -> Result<()> {
    if find_program(&["cargo-deny"]).is_none() {
        println!(
            "cargo-deny is not installed (`cargo install --locked cargo-deny`): \
             advisories are not checked"
        );
        return Ok(());
    }
    let deny = || {
        let mut command = Command::new("cargo");
        command.current_dir(paths::root()).args([
            "deny",
            "check",
            "--hide-inclusion-graph",
            "--allow=duplicate",
        ]);
        command
    };
    run(deny().args(["bans", "licenses", "sources"]))?;
    let database = "https://github.com/rustsec/advisory-db";
    let mut reach = Command::new("git");
    reach.args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=10"]);
    reach.args(["ls-remote", "--exit-code", database, "HEAD"]).env("GIT_TERMINAL_PROMPT", "0");
    if probe(&mut reach).is_none() {
        println!("{database} cannot be reached: advisories are not checked");
        return Ok(());
    }
    run(deny().arg("advisories"))
}

/// Packages that occur in more than one version.
fn duplicates(packages: &[Package]) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, found| found.len() > 1);
    versions
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse()?;
        let banned = list(&table, "bans", "deny")?.iter().map(|entry| {
            let name = entry.get("name").and_then(Value::as_str).context("a ban needs a name")?;
            let reason = entry.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
            Ok((name.to_owned(), reason.to_owned()))
        });
        let licenses = strings(&table, "licenses", "allow")?;
        let licenses = licenses.iter().map(|text| {
            Licensee::parse(text).with_context(|| format!("{text} is no licence that SPDX knows"))
        });
        Ok(Self {
            licenses: licenses.collect::<Result<_>>()?,
            registries: strings(&table, "sources", "allow-registry")?,
            banned: banned.collect::<Result<_>>()?,
        })
    }

    fn faults(&self, packages: &[Package]) -> Vec<String> {
        packages
            .iter()
            .flat_map(|package| {
                self.fault_of(package)
                    .into_iter()
                    .map(|fault| format!("{} {}: {fault}", package.name, package.version))
            })
            .collect()
    }

    fn fault_of(&self, package: &Package) -> Vec<String> {
        // Our own packages are not published.
        let Some(source) = &package.source else { return Vec::new() };
        let mut faults = Vec::new();
        let from = source.strip_prefix("registry+");
        if !from.is_some_and(|registry| self.registries.iter().any(|known| known == registry)) {
            faults.push(format!("comes from {source}"));
        }
        if let Some(reason) = self.banned.get(&package.name) {
            faults.push(format!("is banned: {reason}"));
        }
        match &package.license {
            None => faults.push("has no licence".to_owned()),
            Some(license) if self.allows(license) => {}
            Some(license) => faults.push(format!("has a licence that is not allowed: {license}")),
        }
        faults
    }

    fn allows(&self, license: &str) -> bool {
        Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|wanted| self.licenses.iter().any(|known| known.satisfies(wanted)))
        })
    }
}

fn list<'t>(table: &'t Table, section: &str, key: &str) -> Result<&'t [Value]> {
    let value = table.get(section).and_then(|section| section.get(key));
    let array = value.and_then(Value::as_array);
    array.map(Vec::as_slice).with_context(|| format!("[{section}] needs a list `{key}`"))
}

fn strings(table: &Table, section: &str, key: &str) -> Result<Vec<String>> {
    list(table, section, key)?
        .iter()
        .map(|value| value.as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .with_context(|| format!("[{section}] {key} may hold only strings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn policy() -> Policy {
        Policy::parse(
            r#"
            [licenses]
            allow = ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0", "MPL-2.0"]
            [bans]
            deny = [{ name = "openssl", reason = "a C library" }]
            [sources]
            allow-registry = ["https://github.com/rust-lang/crates.io-index"]
            "#,
        )
        .unwrap()
    }

    fn package(name: &str, source: &str, license: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            source: Some(source.to_owned()),
            license: license.map(str::to_owned),
        }
    }

    #[test]
    fn licence_expressions_are_judged_as_a_whole() {
        let cases = [
            ("MIT", true),
            ("MIT OR GPL-3.0-only", true),
            ("MIT/GPL-3.0", true),
            ("GPL-3.0-only", false),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("Unicode-3.0 OR MPL-2.0+", true),
            ("MPL-2.0+", true),
            ("Whatever I Like", false),
        ];
        for (license, allowed) in cases {
            assert_eq!(policy().allows(license), allowed, "{license}");
        }
    }

    #[test]
    fn every_kind_of_fault_is_named() {
        let cases = [
            (package("good", CRATES_IO, Some("MIT")), ""),
            (package("openssl", CRATES_IO, Some("MIT")), "openssl 1.0.0: is banned: a C library"),
            (package("bare", CRATES_IO, None), "bare 1.0.0: has no licence"),
            (
                package("fork", "git+https://example.org/fork#1234", Some("MIT")),
                "fork 1.0.0: comes from git+https://example.org/fork#1234",
            ),
            (
                package("closed", CRATES_IO, Some("BUSL-1.1")),
                "closed 1.0.0: has a licence that is not allowed: BUSL-1.1",
            ),
        ];
        for (package, expected) in cases {
            assert_eq!(policy().faults(&[package]).join("; "), expected);
        }
    }

    #[test]
    fn our_own_packages_are_free() {
        let mut own = package("raft-core", "", None);
        own.source = None;
        assert!(policy().faults(&[own]).is_empty());
    }

    #[test]
    fn two_versions_of_one_package_are_seen() {
        let mut newer = package("syn", CRATES_IO, Some("MIT"));
        newer.version = "2.0.0".to_owned();
        let packages = [package("syn", CRATES_IO, Some("MIT")), newer, package("quote", "", None)];
        assert_eq!(duplicates(&packages), BTreeMap::from([("syn", vec!["1.0.0", "2.0.0"])]));
    }

    #[test]
    fn a_policy_without_its_lists_is_refused() {
        assert!(Policy::parse("[licenses]\nallow = [1]").is_err());
        assert!(Policy::parse("").is_err());
        assert!(Policy::parse("[licenses]\nallow = [\"Mine\"]\n[bans]\ndeny = []").is_err());
    }
}
