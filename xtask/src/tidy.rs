//! Project rules that no compiler checks.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::probe;
use crate::{paths, words};

/// Maximum length of a source file, in lines; test files may be longer.
const LONGEST: usize = 500;

/// Checks every file that git tracks or would add.
pub(crate) fn check() -> Result<()> {
    let listed = probe(Command::new("git").current_dir(paths::root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .context("git cannot list the files; this check needs a git checkout")?;
    let mut faults = Vec::new();
    let mut files = 0_usize;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        // Git still lists deleted files. Images and other binary files are not UTF-8.
        let Ok(bytes) = std::fs::read(paths::root().join(name)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        files += 1;
        faults.extend(faults_of(name, &text));
    }
    if !faults.is_empty() {
        bail!("not tidy:\n  {}", faults.join("\n  "));
    }
    println!("{files} files are tidy");
    Ok(())
}

fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = machine_paths(name, text);
    faults.extend(conflicts(name, text));
    faults.extend(words::faults(name, text));
    if Path::new(name).extension().is_some_and(|extension| extension == "rs") {
        faults.extend(rust_faults(name, text));
    }
    faults
}

/// Finds absolute paths that exist only on one machine.
fn machine_paths(name: &str, text: &str) -> Vec<String> {
    // Split to keep this check from matching its own source.
    let homes =
        [["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["C:", "\\Users"]].map(|h| h.concat());
    numbered(text)
        .filter(|(_, line)| homes.iter().any(|home| mentions(line, home)))
        .map(|(number, _)| format!("{name}:{number}: a path of a single machine"))
        .collect()
}

/// Finds git's merge conflict markers.
fn conflicts(name: &str, text: &str) -> Vec<String> {
    numbered(text)
        .filter(|(_, line)| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "))
        .map(|(number, _)| format!("{name}:{number}: a conflict that is not resolved"))
        .collect()
}

/// Whether a path in the line starts with `home`. A match inside a path or a URL does not count.
fn mentions(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}'))
    })
}

fn rust_faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !begins_with_docs(text) {
        faults.push(format!("{name}:1: begins without a `//!` comment about its purpose"));
    }
    let lines = text.lines().count();
    if lines > LONGEST && !is_test(name) {
        faults.push(format!("{name}: {lines} lines, more than {LONGEST}: split the file"));
    }
    // Split to keep this check from matching its own source.
    let left_over = [["dbg", "!("], ["todo", "!("], ["unimplemented", "!("]].map(|l| l.concat());
    for (number, line) in numbered(text) {
        if let Some(found) = left_over.iter().find(|found| line.contains(found.as_str())) {
            faults.push(format!("{name}:{number}: `{found}` must be removed"));
        }
    }
    faults
}

/// Whether the first line after attributes is a `//!` comment.
fn begins_with_docs(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.starts_with("//!"))
}

fn is_test(name: &str) -> bool {
    let path = Path::new(name);
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tidy_file_has_no_faults() {
        let text = "#![no_std]\n//! What it is for.\n\nfn main() {}\n";
        assert_eq!(faults_of("core/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        let home = format!("/{}/", "home");
        // Split, as above.
        let (debug, later) = (format!("{}!(x);", "dbg"), format!("{}!()", "todo"));
        let cases = [
            ("src/a.rs", "fn a() {}".to_owned(), "src/a.rs:1: begins without"),
            ("src/a.rs", format!("//! A.\n{debug}"), "src/a.rs:2: `dbg"),
            ("src/a.rs", format!("//! A.\n{later}"), "src/a.rs:2: `todo"),
            ("src/a.rs", format!("//! A.\n{}", "x\n".repeat(500)), "src/a.rs: 501 lines"),
            ("index.html", "a\n<<<<<<< HEAD".to_owned(), "index.html:2: a conflict"),
            ("README.md", format!("\nrun {home}me/x"), "README.md:2: a path of a single machine"),
        ];
        for (name, text, expected) in cases {
            let faults = faults_of(name, &text);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].starts_with(expected), "{faults:?}");
        }
    }

    #[test]
    fn tests_may_be_long_and_urls_are_no_paths() {
        let long = format!("//! A.\n{}", "x\n".repeat(500));
        assert!(faults_of("core/tests/it/random.rs", &long).is_empty());
        let url = format!("see https://example.org/{}/x", "home");
        assert!(faults_of("README.md", &url).is_empty());
    }
}
