//! The page: `cargo xtask web` builds it into `dist/`, `cargo xtask serve` serves it during
//! development.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::paths;
use crate::process::{find_program, replace, run, with_tools_on_path};
use crate::setup::{self, Report, WasmToolchain};

/// Maximum size of the whole page over the network, in gzipped bytes. It is slightly above the
/// current size, to make growth noticeable. The goal is 300 KB. Most of the size is the core, which
/// the page runs completely.
const BUDGET: u64 = 884_000;

/// Builds the page. Also writes a gzipped copy of each larger file, which servers send to browsers.
pub(crate) fn build() -> Result<()> {
    run(trunk()?.args(["build", "--release"]))?;
    let dist = paths::dist();
    for file in sizes(&dist)?.iter().filter(|file| file.gzipped * 2 < file.raw) {
        let path = dist.join(&file.name);
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let packed = dist.join(format!("{}{PACKED}", file.name));
        std::fs::write(&packed, gzip(&bytes, Compression::best())?)
            .with_context(|| format!("cannot write {}", packed.display()))?;
    }
    Ok(())
}

/// File extension of the gzipped copies.
const PACKED: &str = ".gz";

/// Builds the page and checks its size budget. The budget concerns people who change the page, not
/// people who only view it.
pub(crate) fn build_within_budget() -> Result<()> {
    build()?;
    let files = sizes(&paths::dist())?;
    print!("{}", table(&files));
    check_budget(&files)
}

/// Formats a table of the built page's size, file by file.
pub(crate) fn size_table() -> Result<String> {
    Ok(table(&sizes(&paths::dist())?))
}

/// Replaces this process with `trunk serve`.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    replace(trunk()?.arg("serve").args(arguments))
}

/// Returns a trunk command with the right compiler and directory. Installs what is missing.
fn trunk() -> Result<Command> {
    let lock = std::fs::read_to_string(paths::root().join("Cargo.lock"));
    setup::check_wasm_bindgen(&lock.context("cannot read Cargo.lock")?)?;
    setup::ensure(&setup::PAGE, Report::Changes)?;
    let program = find_program(&["trunk"]).context("trunk was installed, but it is not found")?;
    let toolchain =
        WasmToolchain::detect().context("the wasm target was installed, but it is not found")?;
    let mut command = Command::new(program);
    command.current_dir(paths::root());
    toolchain.apply(&mut command);
    with_tools_on_path(&mut command);
    // Trunk rejects the usual `NO_COLOR=1`: it expects `true`.
    if std::env::var_os("NO_COLOR").is_some() {
        command.env("NO_COLOR", "true");
    }
    Ok(command)
}

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    name: String,
    /// Size in bytes.
    raw: u64,
    /// Size in bytes with gzip at its default level.
    gzipped: u64,
}

fn sizes(directory: &Path) -> Result<Vec<Size>> {
    let mut found = Vec::new();
    collect(directory, directory, &mut found)?;
    found.sort_by(|a, b| b.gzipped.cmp(&a.gzipped).then_with(|| a.name.cmp(&b.name)));
    Ok(found)
}

fn collect(top: &Path, directory: &Path, found: &mut Vec<Size>) -> Result<()> {
    let entries =
        directory.read_dir().with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry.context("cannot read the built page")?.path();
        if path.is_dir() {
            collect(top, &path, found)?;
            continue;
        }
        if path.to_string_lossy().ends_with(PACKED) {
            continue;
        }
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        found.push(Size {
            name: path.strip_prefix(top).unwrap_or(&path).display().to_string(),
            raw: bytes.len() as u64,
            gzipped: gzipped(&bytes)?,
        });
    }
    Ok(())
}

fn gzipped(bytes: &[u8]) -> Result<u64> {
    Ok(gzip(bytes, Compression::default())?.len() as u64)
}

fn gzip(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).context("cannot compress")?;
    encoder.finish().context("cannot compress")
}

fn table(files: &[Size]) -> String {
    let total = Size {
        name: "in all".to_owned(),
        raw: files.iter().map(|file| file.raw).sum(),
        gzipped: files.iter().map(|file| file.gzipped).sum(),
    };
    let lines = files.iter().chain(std::iter::once(&total)).map(|file| {
        format!("{:>9} {:>9}  {}\n", kilobytes(file.raw), kilobytes(file.gzipped), file.name)
    });
    std::iter::once(format!("{:>9} {:>9}  dist/\n", "raw KB", "gzip KB")).chain(lines).collect()
}

/// Formats bytes as kilobytes (1000 bytes) with one decimal.
fn kilobytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1000, bytes % 1000 / 100)
}

fn check_budget(files: &[Size]) -> Result<()> {
    let total: u64 = files.iter().map(|file| file.gzipped).sum();
    if files.is_empty() {
        bail!("the page is empty: nothing was built into {}", paths::dist().display());
    }
    if total > BUDGET {
        bail!(
            "the page weighs {} KB gzipped; its budget is {} KB",
            kilobytes(total),
            kilobytes(BUDGET)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(gzipped: u64) -> Size {
        Size { name: "page.wasm".to_owned(), raw: 2 * gzipped, gzipped }
    }

    #[test]
    fn a_page_above_its_budget_is_refused() {
        assert!(check_budget(&[file(BUDGET - 1), file(1)]).is_ok());
        let error = check_budget(&[file(BUDGET), file(1)]).unwrap_err().to_string();
        assert!(error.contains("budget is 884.0 KB"), "{error}");
    }

    #[test]
    fn an_empty_page_is_refused() {
        assert!(check_budget(&[]).is_err());
    }

    #[test]
    fn the_table_sums_up() {
        let text = table(&[file(1500), file(2600)]);
        assert!(text.ends_with("      8.2       4.1  in all\n"), "{text}");
    }

    #[test]
    fn compression_is_measured_not_guessed() {
        let size = gzipped(&vec![0; 100_000]).unwrap();
        assert!((20..1000).contains(&size), "{size}");
    }
}
