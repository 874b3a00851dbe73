//! The rules that can be broken, in words. The section, the function and the failure of each come
//! from the lesson that shows the rule.

use raft_core::rules::Mutation;
use raft_core::scenario::Scenario;

use super::lessons;

/// What a rule says, and what the cluster does instead when it is broken.
pub(crate) struct Rule {
    pub(crate) mutation: Mutation,
    /// The label of the switch.
    pub(crate) name: &'static str,
    /// What happens when the rule is broken.
    pub(crate) instead: &'static str,
}

impl Rule {
    const fn new(mutation: Mutation, name: &'static str, instead: &'static str) -> Self {
        Self { mutation, name, instead }
    }

    /// The rule that a mutation breaks.
    pub(crate) fn of(mutation: Mutation) -> &'static Self {
        RULES.iter().find(|rule| rule.mutation == mutation).unwrap_or(&RULES[0])
    }

    /// The lesson that shows the rule.
    pub(crate) fn lesson(&self) -> Option<(usize, &'static Scenario)> {
        let number = lessons::showing(self.mutation)?;
        lessons::all().get(number).map(|scenario| (number, scenario))
    }

    /// The section of the paper about the rule.
    pub(crate) fn section(&self) -> &'static str {
        self.lesson().map_or("", |(_, scenario)| scenario.header.section.as_str())
    }

    /// The rule's name in an address, for example `vote_twice`.
    pub(crate) fn code(&self) -> String {
        let value = serde_json::to_value(self.mutation).unwrap_or_default();
        value.as_str().unwrap_or_default().to_owned()
    }

    /// The rule with this name in an address.
    pub(crate) fn coded(code: &str) -> Option<Mutation> {
        serde_json::from_value(serde_json::Value::String(code.to_owned())).ok()
    }
}

/// All rules: elections, logs, leadership, members, reads and snapshots.
pub(crate) static RULES: [Rule; 22] = [
    Rule::new(
        Mutation::VoteTwice,
        "One vote a term",
        "Servers vote for every candidate that asks.",
    ),
    Rule::new(Mutation::ForgetVote, "Votes are durable", "A server forgets its vote in a crash."),
    Rule::new(
        Mutation::FixedTimeouts,
        "Random election timeouts",
        "All election timeouts are equal.",
    ),
    Rule::new(
        Mutation::IgnoreStaleLog,
        "Only up-to-date candidates",
        "Candidates with older logs get votes too.",
    ),
    Rule::new(
        Mutation::NoPreVote,
        "Ask before campaigning",
        "Servers start elections without asking whether they can win.",
    ),
    Rule::new(Mutation::HalfIsMajority, "More than half", "Half of the voters are enough."),
    Rule::new(
        Mutation::SkipPrevLogCheck,
        "Check the previous entry",
        "Followers append entries whatever comes before them.",
    ),
    Rule::new(
        Mutation::AlwaysTruncate,
        "Cut only at a conflict",
        "Followers cut their log after every AppendEntries.",
    ),
    Rule::new(
        Mutation::CommitOldTerms,
        "Count only the current term",
        "Leaders commit entries of older terms by counting copies.",
    ),
    Rule::new(
        Mutation::CommitUnverified,
        "Commit what was verified",
        "Followers commit as far as the leader has committed.",
    ),
    Rule::new(
        Mutation::AcknowledgeEarly,
        "Durable before acknowledged",
        "Servers acknowledge entries before they are on disk.",
    ),
    Rule::new(
        Mutation::TrustStrangers,
        "A lost disk has no vote",
        "A server that lost its disk votes as if nothing had happened.",
    ),
    Rule::new(
        Mutation::NoCheckQuorum,
        "A leader needs a majority",
        "A leader that hears no majority stays leader.",
    ),
    Rule::new(
        Mutation::EagerReconfiguration,
        "Commit before changing members",
        "New leaders change the members at once.",
    ),
    Rule::new(Mutation::DirectSwitch, "Joint consensus", "Several voters change in a single step."),
    Rule::new(Mutation::CountLearners, "Learners do not count", "Learners count like voters."),
    Rule::new(
        Mutation::UnconfirmedReads,
        "Confirm before a read",
        "Leaders answer reads without asking a majority.",
    ),
    Rule::new(
        Mutation::ReadBeforeCommit,
        "No read before a commit",
        "New leaders answer reads before they know what is committed.",
    ),
    Rule::new(
        Mutation::TrustClocks,
        "Leases allow for drift",
        "Leases assume that all clocks run at the same rate.",
    ),
    Rule::new(
        Mutation::KeepLeaseInTransfer,
        "No lease while handing over",
        "A leader keeps its lease while it transfers leadership.",
    ),
    Rule::new(
        Mutation::AcceptOldSnapshot,
        "Only newer snapshots",
        "Any snapshot replaces the state.",
    ),
    Rule::new(
        Mutation::ExecuteRetries,
        "Remember requests",
        "A retried request is executed again.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Guards that every rule of the core has a switch, a lesson that names its section and its
    /// failure, and a name for addresses.
    #[test]
    fn every_rule_has_a_switch_a_section_and_a_lesson() {
        let switches: BTreeSet<Mutation> = RULES.iter().map(|rule| rule.mutation).collect();
        assert_eq!(switches, Mutation::ALL.into_iter().collect());
        for rule in &RULES {
            let (_, lesson) = rule.lesson().expect(rule.name);
            assert!(!rule.section().is_empty() && lesson.header.fails.is_some(), "{}", rule.name);
            assert_eq!(Rule::coded(&rule.code()), Some(rule.mutation));
        }
        assert_eq!(Rule::coded("be_nice"), None);
    }
}
