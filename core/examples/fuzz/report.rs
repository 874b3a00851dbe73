//! The report of a failure: the command that reproduces it, and the shortest run.

use std::fmt::Write as _;

use raft_core::rules::Mutation;

use crate::judge::Failed;

/// The maximum number of actions that are printed.
const ACTIONS: usize = 40;

/// Parses the name of a rule, as a journal writes it.
pub(crate) fn parse_rule(name: &str) -> Result<Mutation, String> {
    let quoted = format!("\"{}\"", name.replace('-', "_"));
    serde_json::from_str(&quoted).map_err(|error| error.to_string())
}

fn rule_name(rule: Mutation) -> String {
    let text = serde_json::to_string(&rule).unwrap_or_default();
    text.trim_matches('"').to_owned()
}

/// Describes a failure.
pub(crate) fn failure(seed: u64, broken: Option<Mutation>, failed: &Failed) -> String {
    let rule = broken.map_or_else(String::new, |rule| format!(" --break {}", rule_name(rule)));
    let mut text = format!("seed {seed}: {}\n", failed.reason);
    let _ = writeln!(text, "  reproduce with: cargo xtask fuzz --seeds 1 --from {seed}{rule}");
    let (short, long) = (failed.shrunk.len(), failed.troubles);
    let servers = failed.config.servers;
    match &failed.shrunk_reason {
        Some(reason) => {
            let _ = writeln!(
                text,
                "  {short} of its {long} actions, on {servers} servers, are enough: {reason}"
            );
        }
        None => {
            let _ = writeln!(text, "  it does not fail again with its {long} actions alone");
        }
    }
    for entry in failed.shrunk.iter().take(ACTIONS) {
        let action = serde_json::to_string(&entry.action).unwrap_or_default();
        let _ = writeln!(text, "    {:>14}  {action}", entry.at.time.to_string());
    }
    if short > ACTIONS {
        let _ = writeln!(text, "    … and {} more", short - ACTIONS);
    }
    if !failed.tail.is_empty() {
        let _ = writeln!(text, "  these events show it");
    }
    for event in &failed.tail {
        let _ = writeln!(text, "    {event}");
    }
    text
}
