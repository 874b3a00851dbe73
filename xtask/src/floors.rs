//! The floors of docs/ARCHITECTURE.md: a crate or a top-level module may use only what stands on
//! lower floors. So no two of them form a circle.
//!
//! A fenced block `floors` lists the crates, a block `floors DIR` the modules of that crate, the
//! highest floor first. Tests may use everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{metadata, paths};

const DOCUMENT: &str = "docs/ARCHITECTURE.md";

/// The floor of each name: 0 is the lowest.
type Floors = BTreeMap<String, usize>;

/// Checks the imports of all drawn crates and modules.
pub(crate) fn check() -> Result<()> {
    let text = std::fs::read_to_string(paths::root().join(DOCUMENT)).context(DOCUMENT)?;
    let blocks = blocks(&text);
    let Some((_, crates)) = blocks.iter().find(|(of, _)| of.is_empty()) else {
        bail!("{DOCUMENT}: there is no block `floors` with the crates");
    };
    let mut faults = faults_of_crates(crates, &metadata::own_dependencies()?);
    for (of, floors) in blocks.iter().filter(|(of, _)| !of.is_empty()) {
        let source = paths::root().join(of).join("src");
        let imports = imports_below(&source).with_context(|| format!("{DOCUMENT}: floors {of}"))?;
        faults.extend(faults_of_modules(of, floors, &imports));
    }
    if !faults.is_empty() {
        bail!("imports that the floors of {DOCUMENT} do not allow:\n  {}", faults.join("\n  "));
    }
    println!("imports of {} crates, and inside {} crates, go down", crates.len(), blocks.len() - 1);
    Ok(())
}

/// The blocks of a document, each with what follows `floors` in its first line.
fn blocks(text: &str) -> Vec<(String, Floors)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(of) = line.strip_prefix("```floors") else { continue };
        let rows: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        let floor = |(floor, row): (usize, &&str)| {
            row.split_whitespace().map(move |name| (name.to_owned(), floor)).collect::<Vec<_>>()
        };
        let floors = rows.iter().rev().enumerate().flat_map(|(at, row)| floor((at, row))).collect();
        blocks.push((of.trim().to_owned(), floors));
    }
    blocks
}

/// A crate's directory name, and the directory names of the crates that it depends on.
fn faults_of_crates(
    floors: &Floors,
    dependencies: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (user, used) in dependencies {
        for name in used {
            faults.extend(fault(floors, user, name).map(|why| format!("{user}/Cargo.toml: {why}")));
        }
        if !floors.contains_key(user) && used.is_empty() {
            faults.push(format!("{user}: the crate is not in the floors"));
        }
    }
    for name in floors.keys().filter(|name| !dependencies.contains_key(*name)) {
        faults.push(format!("{DOCUMENT}: there is no crate `{name}`"));
    }
    faults
}

/// `imports` has, for each module, the modules that it uses, each with a file that does.
fn faults_of_modules(
    of: &str,
    floors: &Floors,
    imports: &BTreeMap<String, BTreeMap<String, String>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (user, used) in imports {
        if !floors.contains_key(user) {
            faults.push(format!("{of}/src/{user}: the module is not in the floors"));
            continue;
        }
        for (name, file) in used.iter().filter(|(name, _)| imports.contains_key(*name)) {
            faults.extend(fault(floors, user, name).map(|why| format!("{of}/src/{file}: {why}")));
        }
    }
    for name in floors.keys().filter(|name| !imports.contains_key(*name)) {
        faults.push(format!("{DOCUMENT}: {of} has no module `{name}`"));
    }
    faults
}

fn fault(floors: &Floors, user: &str, below: &str) -> Option<String> {
    match (floors.get(user), floors.get(below)) {
        (Some(from), Some(to)) if to < from => None,
        (Some(_), Some(_)) => Some(format!("`{user}` uses `{below}`, which is not below it")),
        (None, _) => Some(format!("`{user}` is not in the floors")),
        (_, None) => Some(format!("`{below}` is not in the floors")),
    }
}

/// For each top-level module below `source`, the names that follow `crate::` in it.
fn imports_below(source: &Path) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut imports: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut waiting = vec![source.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            let file = path.strip_prefix(source)?.to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                if !file.ends_with("tests") && !file.ends_with("shuttled") {
                    waiting.push(path);
                }
                continue;
            }
            let module = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
            let is_root = !file.contains('/') && ["lib", "main"].contains(&module);
            let is_test = file.ends_with("tests.rs") || file.ends_with("testing.rs");
            if path.extension().is_none_or(|extension| extension != "rs") || is_root || is_test {
                continue;
            }
            let used = used_by(&std::fs::read_to_string(&path)?, !file.contains('/'));
            let known = imports.entry(module.to_owned()).or_default();
            for name in used.into_iter().filter(|name| name != module) {
                known.insert(name, file.clone());
            }
        }
    }
    Ok(imports)
}

/// The top-level modules that code names, up to its tests. In a file at the top, `super::` is the
/// same as `crate::`.
fn used_by(code: &str, at_top: bool) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut lines = code.lines().peekable();
    let mut text = String::new();
    while let Some(line) = lines.next() {
        let test_begins = line.starts_with("#[cfg(") && line.contains("test");
        if test_begins && lines.peek().is_some_and(|next| next.contains("mod ")) {
            break;
        }
        text.push_str(line.split("//").next().unwrap_or_default());
        text.push('\n');
    }
    let roots: &[&str] = if at_top { &["crate::", "super::"] } else { &["crate::"] };
    for root in roots {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
                continue;
            }
            used.extend(names_at(&text[at + root.len()..]));
        }
    }
    used
}

/// The first names of a path: one, or those of the branches in braces.
fn names_at(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(inside) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&inside[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&inside[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWING: &str = "x\n```floors\ntop\nleft right\nlow\n```\n```floors low\nb\na\n```\n";

    #[test]
    fn floors_are_counted_from_below() {
        let blocks = blocks(DRAWING);
        assert_eq!(blocks.len(), 2);
        let (of, floors) = &blocks[0];
        assert_eq!((of.as_str(), floors["low"], floors["left"], floors["top"]), ("", 0, 1, 2));
        assert_eq!((blocks[1].0.as_str(), blocks[1].1["b"]), ("low", 1));
    }

    #[test]
    fn imports_go_down_and_never_sideways_or_up() {
        let floors = &blocks(DRAWING)[0].1;
        assert_eq!(fault(floors, "top", "low"), None);
        for (user, used) in [("low", "top"), ("left", "right"), ("left", "left"), ("top", "new")] {
            assert!(fault(floors, user, used).is_some(), "{user} -> {used}");
        }
    }

    #[test]
    fn names_are_found_where_code_uses_them_and_not_in_comments_or_tests() {
        let code = "use crate::{a::{b, c}, d};\nfn f() { crate::e::g(); } // crate::h\n\
                    use super::i;\nlet $crate::j = 1;\n#[cfg(test)]\nmod tests {\n use crate::k;\n}\n";
        let names = |at_top| used_by(code, at_top).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(names(false), "a d e");
        assert_eq!(names(true), "a d e i");
    }

    #[test]
    fn crates_that_are_not_drawn_or_not_there_are_named() {
        let floors = &blocks(DRAWING)[0].1;
        let on = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let dependencies = BTreeMap::from([
            ("low".to_owned(), on(&["left"])),
            ("left".to_owned(), on(&["low"])),
            ("right".to_owned(), on(&[])),
            ("new".to_owned(), on(&[])),
        ]);
        let faults = faults_of_crates(floors, &dependencies);
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, words) in faults.iter().zip(["not below", "not in", "no crate `top`"]) {
            assert!(fault.contains(words), "{faults:?}");
        }
    }

    #[test]
    fn modules_that_are_not_drawn_or_not_there_are_named() {
        let floors = &blocks(DRAWING)[1].1;
        let imports = BTreeMap::from([
            ("a".to_owned(), BTreeMap::from([("b".to_owned(), "a.rs".to_owned())])),
            ("z".to_owned(), BTreeMap::new()),
        ]);
        let faults = faults_of_modules("low", floors, &imports);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("z: the module is not in"), "{faults:?}");
        assert!(faults[1].contains("no module `b`"), "{faults:?}");
    }
}
