//! Cargo's metadata about the packages of this workspace and their dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::paths;
use crate::process::display;

/// A package of this workspace or a dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The source as written in Cargo.lock; `None` for packages of this workspace.
    pub(crate) source: Option<String>,
    /// The SPDX licence expression.
    pub(crate) license: Option<String>,
}

/// Returns every package of the lock file, for all platforms and features.
///
/// A lock file that does not match the manifests is an error: another build would change it.
pub(crate) fn packages() -> Result<Vec<Package>> {
    read(parse)
}

/// For each package of this workspace, by its directory, the directories of those that it depends
/// on, except for tests.
pub(crate) fn own_dependencies() -> Result<BTreeMap<String, BTreeSet<String>>> {
    read(parse_own)
}

fn read<T>(parse: impl Fn(&[u8]) -> Result<T>) -> Result<T> {
    let mut command = Command::new("cargo");
    command.current_dir(paths::root());
    command.args(["metadata", "--format-version=1", "--locked", "--all-features", "--quiet"]);
    let shown = display(&command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    parse(&output.stdout).with_context(|| format!("`{shown}` printed something unexpected"))
}

fn parse(json: &[u8]) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_slice(json)?;
    let packages = metadata["packages"].as_array().context("no list of packages")?;
    let mut found = packages.iter().map(package).collect::<Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}

fn parse_own(json: &[u8]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let metadata: Value = serde_json::from_slice(json)?;
    let packages = metadata["packages"].as_array().context("no list of packages")?;
    let root = metadata["workspace_root"].as_str().context("no root")?;
    let directory = |path: &Value| {
        let path = Path::new(path.as_str()?).strip_prefix(root).ok()?;
        Some(path.to_string_lossy().replace('\\', "/"))
    };
    let mut own = BTreeMap::new();
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let manifest = directory(&package["manifest_path"]).context("a package outside")?;
        let used = package["dependencies"].as_array().into_iter().flatten();
        let used = used.filter(|used| used["kind"].as_str() != Some("dev"));
        let directory_name = manifest.trim_end_matches("/Cargo.toml").to_owned();
        own.insert(directory_name, used.filter_map(|used| directory(&used["path"])).collect());
    }
    Ok(own)
}

fn package(value: &Value) -> Result<Package> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Ok(Package {
        name: text("name").context("a package without a name")?,
        version: text("version").context("a package without a version")?,
        source: text("source"),
        license: text("license"),
    })
}

/// Whether the workspace contains a package of this name.
pub(crate) fn is_member(packages: &[Package], name: &str) -> bool {
    packages.iter().any(|package| package.source.is_none() && package.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_dependencies_are_told_by_their_directories() {
        let json = br#"{"workspace_root": "/w", "packages": [
            {"name": "raft-core", "source": null, "manifest_path": "/w/core/Cargo.toml",
             "dependencies": [{"name": "bytes", "kind": null, "path": null}]},
            {"name": "page", "source": null, "manifest_path": "/w/page/Cargo.toml",
             "dependencies": [{"name": "raft-core", "kind": null, "path": "/w/core"},
                              {"name": "testbed", "kind": "dev", "path": "/w/testbed"}]}
        ]}"#;
        let own = parse_own(json).unwrap();
        assert!(own["core"].is_empty());
        assert_eq!(own["page"], BTreeSet::from(["core".to_owned()]));
    }

    #[test]
    fn own_and_foreign_packages_are_told_apart() {
        let json = br#"{"packages": [
            {"name": "raft-core", "version": "0.1.0", "source": null, "license": "MIT"},
            {"name": "bytes", "version": "1.12.0", "source": "registry+x", "license": null}
        ]}"#;
        let packages = parse(json).unwrap();
        assert_eq!(packages.len(), 2);
        assert!(is_member(&packages, "raft-core"));
        assert!(!is_member(&packages, "bytes"));
        assert!(parse(b"{}").is_err());
    }
}
