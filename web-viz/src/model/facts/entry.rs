//! The facts about a log index: its entry, and the entry's state on each server.

use raft_core::types::{LogIndex, NodeId};

use super::{Fact, NONE, list, yes_or_no};
use crate::domain::cluster::ClusterModel;
use crate::scene::grid::{Cell, EntryState, cell, quorum};

pub(super) fn facts(cluster: &ClusterModel, index: LogIndex) -> Vec<Fact> {
    let quorum = quorum(cluster, index);
    let entries = cluster.view.nodes.values().filter_map(|node| node.entry(index));
    let newest = entries.max_by_key(|entry| entry.term);
    let words =
        newest.map_or_else(|| "unknown to this page".to_owned(), |entry| entry.payload.to_string());
    let reached = if quorum.is_reached() { "reached" } else { "not reached" };
    let mut facts = vec![
        Fact::new("entry", words),
        Fact::new("term", newest.map_or_else(|| NONE.to_owned(), |entry| entry.term.to_string())),
        Fact::new(
            "majority",
            format!("{reached}: {} hold it, {} needed", quorum.holders.len(), quorum.needed),
        ),
        Fact::new("held by disks of", list(quorum.holders)),
    ];
    facts.extend(cluster.roster.iter().flat_map(|node| row(cluster, *node, index)));
    facts
}

fn row(cluster: &ClusterModel, node: NodeId, index: LogIndex) -> [Fact; 3] {
    let (term, state, durable) = match cell(cluster, node, index) {
        Cell::Empty { .. } => (NONE.to_owned(), "no entry", NONE),
        Cell::Compacted => (NONE.to_owned(), "in its snapshot", "yes"),
        Cell::Untold => (NONE.to_owned(), "content unknown", NONE),
        Cell::Entry(entry) => {
            let state = match entry.state {
                EntryState::Proposed => "proposed",
                EntryState::Committed => "committed",
                EntryState::Applied => "applied",
            };
            (entry.term.to_string(), state, yes_or_no(entry.durable))
        }
    };
    [
        Fact::at(node, "state", state),
        Fact::at(node, "on disk", durable),
        Fact::at(node, "term", term),
    ]
}
