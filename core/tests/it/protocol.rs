//! `docs/PROTOCOL.md` lists the tests, `docs/SCENARIOS.md` the commands of scenarios. Both must
//! match the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use raft_core::rules::Mutation;
use raft_core::scenario::{LIBRARY, Scenario};

/// The number of known mistakes in the list.
const PITFALLS: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("inside the workspace").to_owned()
}

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).expect("it is there")
}

/// The cells of the table rows whose first cell satisfies `wanted`.
fn rows(wanted: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    let document = document("PROTOCOL.md");
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| {
        row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    });
    cells.filter(|cells| wanted(&cells[0])).collect()
}

/// The links of a cell: text and target file.
fn links(cell: &str) -> Vec<(String, PathBuf)> {
    let links = cell.split('[').skip(1).filter_map(|link| link.split_once("]("));
    let links = links.filter_map(|(text, rest)| Some((text, rest.split_once(')')?.0)));
    links
        .map(|(text, target)| (text.trim_matches('`').to_owned(), root().join("docs").join(target)))
        .collect()
}

/// Guards that the list of known mistakes has forty rows, each with an existing test or scenario.
#[test]
fn every_pitfall_has_its_test() {
    let rows = rows(|first| first.parse::<usize>().is_ok());
    let numbers: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(numbers, (1..=PITFALLS).map(|number| number.to_string()).collect::<Vec<_>>());
    for row in rows {
        let links = links(&row[3]);
        assert!(!links.is_empty(), "pitfall {} has no test", row[0]);
        for (name, file) in links {
            let text = std::fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("pitfall {}: {}: {error}", row[0], file.display()));
            let is = |wanted: &str| file.extension().is_some_and(|extension| extension == wanted);
            if is("txt") {
                let named = format!("itfall {}", row[0]);
                let told = text.lines().filter(|line| line.starts_with('#')).any(|line| {
                    let rest = line.split(&named).nth(1);
                    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
                });
                assert!(told, "pitfall {} is not in {}", row[0], file.display());
            }
            if is("rs") {
                let (function, attributes) =
                    (format!("fn {name}()"), ["#[check]", "#[test]", "#[tokio::test]"]);
                let at = text.find(&function);
                let at = at.unwrap_or_else(|| panic!("pitfall {}: no {name}", row[0]));
                let before = text[..at].lines().rev().take(2).collect::<String>();
                assert!(
                    attributes.iter().any(|attribute| before.contains(attribute)),
                    "pitfall {}: {name} is no test",
                    row[0]
                );
            }
        }
    }
}

/// Guards that the list of rules has every mutation and agrees with the scenarios.
#[test]
fn every_rule_stands_with_its_scenario() {
    let rows = rows(|first| Mutation::ALL.iter().any(|it| format!("`{it:?}`") == first));
    assert_eq!(rows.len(), Mutation::ALL.len());
    let mut named = BTreeSet::new();
    for source in LIBRARY {
        let scenario = Scenario::parse(source.file, source.text).expect("it is well-formed");
        let (Some(breaks), Some(fails)) = (scenario.header.breaks, scenario.header.fails) else {
            continue;
        };
        let row = rows.iter().find(|row| row[0] == format!("`{breaks:?}`")).expect("counted");
        assert_eq!(row[1], format!("`{}`", scenario.header.rule.trim_start_matches("Rules::")));
        assert_eq!(row[2], scenario.header.section, "{}", source.file);
        assert_eq!(row[3], fails.to_string(), "{}", source.file);
        let (_, file) = links(&row[4]).pop().expect("it links to the scenario");
        assert!(file.ends_with(format!("../core/scenarios/{}", source.file)), "{}", row[4]);
        named.insert(breaks);
    }
    assert_eq!(named.len(), Mutation::ALL.len());
}

/// Guards that every command and condition in the scenario reference parses, and the header of its
/// example too.
#[test]
fn every_documented_command_is_understood() {
    let document = document("SCENARIOS.md");
    let mut seen = 0;
    for (part, before) in [("## Commands", ""), ("## Conditions", "expect ")] {
        let table = document.split(part).nth(1).expect("the part is there");
        let table = table.split("## ").next().expect("it has a body");
        for row in table.lines().filter(|line| line.starts_with("| `")) {
            let first = row.trim_start_matches("| ").split(" | ").next().expect("a cell");
            for code in first.split('`').skip(1).step_by(2) {
                let code = code.replace("\\|", "|").replace("CONDITION", "S1 leads");
                let text = format!("# A\n## Run\n```raft\n{before}{code}\n```\n");
                Scenario::parse("SCENARIOS.md", &text).unwrap_or_else(|fault| panic!("{fault}"));
                seen += 1;
            }
        }
    }
    assert!(seen > 70, "only {seen} found");
    let example = document.split("```markdown\n").nth(1).expect("an example");
    let header = example.split("# The title").next().expect("its header");
    let text = format!("{}# A\n", header.replace("lesson: 8", ""));
    let scenario = Scenario::parse("SCENARIOS.md", &text).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(scenario.header.breaks, Some(Mutation::CommitOldTerms));
}
