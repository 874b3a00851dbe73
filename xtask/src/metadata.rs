//! What cargo knows about the packages here and those they need.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::paths;
use crate::process::display;

/// One package, ours or another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Where it comes from, as Cargo.lock says it; `None` for our own.
    pub(crate) source: Option<String>,
    /// Its licence expression.
    pub(crate) license: Option<String>,
}

/// Every package of the lock file, for all platforms and features.
///
/// A lock file that does not fit the manifests is an error: a build elsewhere would change it.
pub(crate) fn packages() -> Result<Vec<Package>> {
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

fn package(value: &Value) -> Result<Package> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Ok(Package {
        name: text("name").context("a package without a name")?,
        version: text("version").context("a package without a version")?,
        source: text("source"),
        license: text("license"),
    })
}

/// Whether the workspace has a package of this name.
pub(crate) fn is_member(packages: &[Package], name: &str) -> bool {
    packages.iter().any(|package| package.source.is_none() && package.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
